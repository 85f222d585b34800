"""GiftNet from iHarmony4 to ccHarmony at 256x256.

Paper: arXiv 2308.00356 and the data set's repository: models are trained on iHarmony4, fine-tuned on
ccHarmony's training set and tested on its test set. The settings are not
known: docs/papers/giftnet.md, "Training".
Command (after configs/giftnet/iharmony4.py and its teacher):
    python train.py --config configs/giftnet/ccharmony_finetune.py --workdir runs/giftnet_ccharmony \
        --set init_from=runs/giftnet_iharmony4 --set objective.teacher=runs/giftnet_teacher
Hardware: the paper's is not known; ours not yet run.
Published (MSE / fMSE / PSNR / fSSIM): GiftNet 24.55 / 235.20 / 37.59 / 0.9322, iSSAM 28.83 / 264.84 /
36.05 / 0.9096. Their fSSIM script is not known: harmonytransformer_256 has the usual one.
Ours: not yet run.
"""

from dataclasses import replace

from jaxharm.config import TrainConfig

from .iharmony4 import get_config as giftnet


def get_config() -> TrainConfig:
    """The run: the same network and losses, 60 epochs at a tenth of the rate."""
    base = giftnet()
    return replace(
        base,
        data=replace(base.data, name="ccharmony", split="train", batch_size=32),
        optim=replace(base.optim, lr=1e-4, milestones=(45 / 60, 55 / 60)),
        eval=replace(base.eval, data="ccharmony"),
        epochs=60,
    )

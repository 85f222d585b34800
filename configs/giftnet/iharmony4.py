"""GiftNet on iHarmony4 at 256x256.

Paper: arXiv 2308.00356. The authors released neither code nor recipe: values follow
its backbone iSSAM, and DucoNet by the same authors (docs/papers/giftnet.md, "Training").
Command (after configs/giftnet/teacher.py):
    python train.py --config configs/giftnet/iharmony4.py --workdir runs/giftnet_iharmony4 \
        --set objective.teacher=runs/giftnet_teacher
Hardware: the paper's is not known; ours not yet run.
Published: its iHarmony4 rows could not be found. Beside it (MSE / PSNR, all): iSSAM 24.65 / 37.95,
DucoNet 18.47 / 39.17.
Ours: not yet run.
"""

from dataclasses import replace

from jaxharm.config import TrainConfig
from jaxharm.papers.giftnet.model import GiftNetConfig
from jaxharm.papers.giftnet.system import GiftNetObjective

from ..issam.iharmony4 import get_config as issam


def get_config() -> TrainConfig:
    """The run: iSSAM's, in batches of 64."""
    base = issam()
    return replace(
        base,
        system="giftnet",
        model=GiftNetConfig(),
        objective=GiftNetObjective(),
        data=replace(base.data, batch_size=64),
        optim=replace(base.optim, lr=1e-3),  # 1e-3 * sqrt(batch / 64)
        checkpoint=replace(base.checkpoint, every=1000),
    )

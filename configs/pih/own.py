"""The weights that ship, fine-tuned on pairs or photographs of your own: what `jaxharm train --data NAME` runs without --config.

Paper: none; configs/pih/shipped.py continued, on any built set with splits train and val.
Command:
    python -m data_pipelines.build folder --manual-dir MY_PAIRS --data-dir DATA --name mine
    python train.py --config configs/pih/own.py --data mine --workdir runs/mine --set data.data_dir=DATA
Hardware: 2 CPU cores shared with other work, 1 min to 1 min 30 s.
Published: nothing.
Ours (revision ce62f1a; seed 0; private sets of 20 pairs, 16 to train on and 4 held back, which choose the state and are measured): each pair changed in
another way, fMSE 226.9 / PSNR 33.86 at step 10, which is kept, and worse later (weights that ship 255.8 / 33.54, composite 294.5 /
33.15); all changed in nearly the same way, on 32 other photographs that chose nothing, 326.2 / 34.28 (430.8 / 32.74, 643.4 / 30.41).
"""

from dataclasses import replace

from jaxharm.config import TrainConfig

from .. import overlays
from . import shipped


def get_config() -> TrainConfig:
    """The recipe of the shipped weights, briefly continued; the best state on the pairs held back is kept."""
    config = overlays.finetune(shipped.get_config())
    return replace(
        config,
        init_from="shipped",
        data=replace(config.data, name="mine"),
        eval=replace(config.eval, data="mine"),
        checkpoint=replace(config.checkpoint, best="fmse"),
    )

"""PHNet on FFHQH at 1024x1024: the largest of the three sizes that were released.

Paper: arXiv 2402.17561. The recipe of this size was not published: that of 256x256, with as many pixels in a
batch (ours).
Command:
    python train.py --config configs/phnet/ffhqh_1024.py --workdir runs/phnet_ffhqh_1024
Hardware: not known; ours not yet run.
Published: no table at hand.
Ours: not yet run.
"""

from dataclasses import replace

from jaxharm.config import TrainConfig

from .ffhqh import get_config as smallest

SIDE, BATCH = 1024, 4


def get_config() -> TrainConfig:
    """The run at 256x256 with larger images."""
    base = smallest()
    return replace(
        base,
        data=replace(base.data, image_size=SIDE, batch_size=BATCH),
        eval=replace(base.eval, batch_size=BATCH, protocol=f"phnet_{SIDE}"),
    )

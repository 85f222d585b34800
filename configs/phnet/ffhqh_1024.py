"""PHNet on FFHQH at 1024x1024: the largest of the three sizes that were released.

Paper: arXiv 2402.17561. The recipe of this size was not published: that of 256x256, with as many pixels in a
batch (ours).
Command:
    python train.py --config configs/phnet/ffhqh_1024.py --workdir runs/phnet_ffhqh_1024
Hardware: not known; ours not yet run.
Published: no table at hand.
Ours: not yet run.
"""

from jaxharm.config import TrainConfig

from .ffhqh import at_side


def get_config() -> TrainConfig:
    """The run at 256x256 with larger images."""
    return at_side(1024, 4)

"""iSSAM on iHarmony4 at 256x256: the released configuration.

Paper: arXiv 2006.00809 and its repository. Values: docs/papers/issam.md, "Training".
Command:
    python train.py --config configs/issam/iharmony4.py --workdir runs/issam_iharmony4
Hardware: the release does not say; ours not yet run.
Published (MSE / PSNR): HCOCO 16.48 / 39.16, HAdobe5k 22.60 / 37.24, HFlickr 69.67 / 33.56, Hday2night
40.59 / 37.72, all 24.65 / 37.95.
Ours: not yet run.
"""

from jaxharm.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    OptimConfig,
    TrainConfig,
)
from jaxharm.papers.issam.model import IssamConfig
from jaxharm.papers.issam.system import IssamObjective


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="issam",
        model=IssamConfig(),
        objective=IssamObjective(),  # the foreground counts as at least 1000 pixels
        data=DataConfig(
            name="iharmony4/all_1024",  # HAdobe5k limited to 1024 pixels beforehand
            split="train+validation",  # the official training list
            batch_size=16,
            image_size=256,
            image_resize="linear_noaa",  # OpenCV bilinear
            mask_resize="linear",  # stays soft
            num_workers=16,
            augment=AugmentConfig(flip=0.5, crop_scale=(0.5, 1.0)),
        ),
        optim=OptimConfig(
            name="adam",
            lr=1e-3,
            schedule="step",
            milestones=(105 / 120, 115 / 120),
            gamma=0.1,
        ),
        # There is no public validation list, and nothing is selected: the last epoch counts.
        eval=EvalConfig(every=0, data="iharmony4/all_1024", split="test", protocol="issam_256"),
        checkpoint=CheckpointConfig(every=4000, best="last"),
        epochs=120,
    )

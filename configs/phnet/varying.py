"""A small PHNet on objects whose light was changed, also from place to place, on a CPU.

Paper: none; the recipe of minibsds.py at 64x64 and shorter, with other composites.
Command (all models and seeds at once: see configs/comparisons/study_varying.py):
    python -m data_pipelines.build folder --manual-dir MINIBSDS --data-dir DATA --name minibsds
    python -m data_pipelines.build varying --manual-dir MINIBSDS --data-dir DATA --name minibsds_varying
    python -m data_pipelines.build photos --manual-dir LE_PHOTOS --data-dir DATA --name le_photos
    python train.py --config configs/phnet/varying.py --workdir runs/phnet_varying --set data.data_dir=DATA
Hardware: 2 CPU cores.
Published: nothing on this data.
Ours: see docs/varying.md, "Results".
"""

from dataclasses import replace

from jaxharm.config import (
    AugmentConfig,
    CheckpointConfig,
    EvalConfig,
    LogConfig,
    SynthesisConfig,
    TrainConfig,
)

from . import minibsds


def get_config() -> TrainConfig:
    """The run."""
    config = minibsds.get_config()
    light = SynthesisConfig(probability=1.0, families=("gain", "gain_field", "poisson"))
    return replace(
        config,
        model=replace(config.model, trained_size=64),
        data=replace(
            config.data,
            image_size=64,
            augment=AugmentConfig(flip=0.5, crop_scale=(0.5, 1.0), recolor=0.8),
            synthesis=light,
        ),
        eval=EvalConfig(data="minibsds_varying", split="val", protocol="default_64"),
        checkpoint=CheckpointConfig(every=200, best="last"),
        log=LogConfig(every=50, images_every=0),
        steps=200,
        ema_decay=0.98,
    )

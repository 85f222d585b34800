"""A small iSSAM on objects whose light was changed, also from place to place, on a CPU.

Paper: none; the recipe of minibsds.py, narrower and shorter, with other composites.
Command (all models and seeds at once: see configs/comparisons/study_varying.py):
    python -m data_pipelines.build folder --manual-dir MINIBSDS --data-dir DATA --name minibsds
    python -m data_pipelines.build varying --manual-dir MINIBSDS --data-dir DATA --name minibsds_varying
    python -m data_pipelines.build photos --manual-dir LE_PHOTOS --data-dir DATA --name le_photos
    python train.py --config configs/issam/varying.py --workdir runs/issam_varying --set data.data_dir=DATA
Hardware: 2 CPU cores.
Published: nothing on this data.
Ours: see docs/varying.md, "Results".
"""

from dataclasses import replace

from jaxharm.config import SynthesisConfig, TrainConfig

from . import minibsds


def get_config() -> TrainConfig:
    """The run."""
    config = minibsds.get_config()
    light = SynthesisConfig(probability=1.0, families=("gain", "gain_field", "poisson"))
    return replace(
        config,
        model=replace(config.model, base_channels=8),
        data=replace(config.data, synthesis=light),
        eval=replace(config.eval, data="minibsds_varying"),
        steps=200,
        ema_decay=0.98,
    )

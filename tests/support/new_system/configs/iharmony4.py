"""The tinter on iHarmony4.

Command:
    python train.py --config configs/tinter/iharmony4.py --workdir runs/tinter
Hardware: any.
Published: nothing.
Ours: not run.
"""

from jaxharm.papers.tinter.model import TinterConfig
from jaxharm.papers.tinter.system import TinterObjective

from jaxharm.config import DataConfig, EvalConfig, TrainConfig


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="tinter",
        model=TinterConfig(),
        objective=TinterObjective(),
        data=DataConfig(name="iharmony4", batch_size=8, image_size=64),
        eval=EvalConfig(data="iharmony4", split="test", protocol="default_256"),
        steps=100,
    )

"""The run of free_photos.py on the photographs of minibsds instead.

Paper: none.
Command (the encoder's file is made as free_photos.py shows):
    python -m data_pipelines.build folder --manual-dir MINIBSDS --data-dir DATA --name minibsds
    python train.py --config configs/propih/minibsds.py --workdir runs/propih_minibsds --set data.data_dir=DATA \
        --set objective.encoder=weights/vgg16/vgg_normalised.safetensors
Hardware: 2 CPU cores.
Published: nothing on this data.
Ours: not yet run. (Until November 2026 this config had a random encoder of half the width, and values without a meaning.)
"""

from dataclasses import replace

from jaxharm.config import TrainConfig

from . import free_photos


def get_config() -> TrainConfig:
    """The run."""
    base = free_photos.get_config()
    return replace(
        base,
        data=replace(base.data, name="minibsds"),
        eval=replace(base.eval, data="minibsds"),
    )

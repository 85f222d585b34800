"""The exit head of configs/propih/minibsds.py.

Paper: none; the recipe of exit_head.py on the small set.
Command (after configs/propih/minibsds.py):
    python train.py --config configs/propih/minibsds_exit.py --workdir runs/propih_minibsds_exit --set data.data_dir=DATA \
        --set objective.generator=runs/propih_minibsds
Hardware: 2 CPU cores.
Published: nothing on this data.
Ours: not yet run.
"""

from dataclasses import replace

from configs.propih import exit_head, minibsds
from jaxharm.config import TrainConfig


def get_config() -> TrainConfig:
    """The run."""
    base, generator = exit_head.get_config(), minibsds.get_config()
    return replace(
        base,
        model=replace(generator.model, exit_head=True),
        data=replace(generator.data, batch_size=base.data.batch_size),
        eval=replace(generator.eval, split="train"),
    )

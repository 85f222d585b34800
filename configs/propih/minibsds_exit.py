"""The exit head of configs/propih/minibsds.py.

Paper: none; the recipe of exit_head.py on the small set.
Command (after configs/propih/minibsds.py):
    python train.py --config configs/propih/minibsds_exit.py --workdir runs/propih_minibsds_exit --set data.data_dir=DATA \
        --set objective.generator=runs/propih_minibsds
Hardware: 2 CPU cores.
Published: nothing on this data.
Ours: 514 composites, labels per stage 232, 112, 109, 61. On the 51 held-out ones (which also chose the epoch): accuracy 0.588, where
always the most frequent stage has 0.490; mean exit stage 2.14, 63.8 % of the multiply-accumulates saved; style error 0.296 (always
stage 4: 0.436), content error 0.919 (1.045). With the recipe of exit_head.py (10 epochs at 1e-4) accuracy 0.431: too short for so
few composites.
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
        optim=replace(base.optim, lr=1e-3),  # ours: few composites, few steps
        epochs=60,
        eval=replace(generator.eval, split="train"),
    )

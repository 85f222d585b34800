"""The exit head of configs/propih/minibsds.py.

Paper: none; the recipe of exit_head.py on the small set.
Command (after configs/propih/minibsds.py):
    python train.py --config configs/propih/minibsds_exit.py --workdir runs/propih_minibsds_exit --set data.data_dir=DATA \
        --set objective.generator=runs/propih_minibsds
Hardware: 2 CPU cores.
Published: nothing on this data.
Ours: not yet run with a real encoder, nor evaluated (eval.py: accuracy, stages, MACs saved). Before, at revision c92a07f, with a random encoder of half the width, on a fixed set: 514 composites, labels per stage 267, 104, 84, 59. On the 51 held-out ones (which also chose the epoch): accuracy 0.608, where
always the most frequent stage has 0.588; mean exit stage 1.20, 92.0 % of the multiply-accumulates saved; style error 0.281 (always
stage 4: 0.367), content error 0.932 (1.070). So few composites teach little beyond the most frequent stage. An earlier run, whose
generator differed in rounding alone, had labels 232, 112, 109, 61, accuracy 0.588 (0.490), 63.8 % saved. With the recipe of exit_head.py (10
epochs at 1e-4) that generator's head had accuracy 0.431, below the most frequent stage's 0.490: too short for so few composites.
"""

from dataclasses import replace

from jaxharm.config import TrainConfig
from jaxharm.papers.propih.model import STAGES

from . import exit_head, minibsds


def get_config() -> TrainConfig:
    """The run."""
    base, generator = exit_head.get_config(), minibsds.get_config()
    return replace(
        base,
        model=replace(generator.model, exit_head=True),
        data=replace(generator.data, batch_size=base.data.batch_size, label_classes=STAGES),
        optim=replace(base.optim, lr=1e-3),  # ours: few composites, few steps
        epochs=60,
        eval=generator.eval,
        checkpoint=generator.checkpoint,
        log=generator.log,
    )

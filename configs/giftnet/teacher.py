"""GiftNet's teacher: iSSAM's U-Net without image fusion learns to return real photographs.

Paper: arXiv 2308.00356; nothing but the purpose of this network is known. Values:
docs/papers/giftnet.md, "What we decided".
Command:
    python train.py --config configs/giftnet/teacher.py --workdir runs/giftnet_teacher
Hardware: the paper's is not known; ours not yet run.
Published: nothing.
Ours: not yet run. Its evaluation measures how well it returns the real photograph.
"""

from dataclasses import replace

from jaxharm.config import TrainConfig
from jaxharm.papers.giftnet.teacher import TEACHER, TeacherObjective, teacher_config

from .iharmony4 import get_config as giftnet


def get_config() -> TrainConfig:
    """The run: GiftNet's data, 20 epochs."""
    base = giftnet()
    return replace(
        base,
        system=TEACHER,
        model=teacher_config(base.model),
        objective=TeacherObjective(),
        optim=replace(base.optim, milestones=(15 / 20, 18 / 20)),
        epochs=20,
    )

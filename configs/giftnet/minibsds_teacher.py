"""The teacher of configs/giftnet/minibsds.py, in a few minutes on two CPU cores.

Paper: none; see configs/giftnet/teacher.py.
Command:
    python train.py --config configs/giftnet/minibsds_teacher.py --workdir runs/giftnet_minibsds_teacher \
        --set data.data_dir=DATA
Hardware: 2 CPU cores.
Published: nothing.
Ours (revision 01cab87): val PSNR 28.83 ± 0.17 of the reconstruction over seeds 0, 1, 2. Its evaluation measures how well it returns the real photograph.
"""

from dataclasses import replace

from jaxharm.config import TrainConfig
from jaxharm.papers.giftnet.teacher import TEACHER, TeacherObjective, teacher_config

from .minibsds import get_config as giftnet


def get_config() -> TrainConfig:
    """The run: the student's data and width."""
    base = giftnet()
    return replace(
        base,
        system=TEACHER,
        model=teacher_config(base.model),
        objective=TeacherObjective(),
    )

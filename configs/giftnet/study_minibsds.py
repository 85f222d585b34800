"""iSSAM, GiftNet without distillation and GiftNet on a small set of photographs, three seeds each.

Command (again to resume; 12 runs of a few minutes on two CPU cores):
    jaxharm study --study giftnet/study_minibsds \
        --workdir runs/giftnet_study --set data.data_dir=DATA
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "giftnet/minibsds"


def get_study() -> Study:
    """The study. Each seed has a teacher of its own."""
    return Study(
        runs=(
            Run("issam", "configs/issam/minibsds.py"),
            Run("giftnet_no_rd", _CONFIG, overlays=("gift_no_rd",)),
            Run("teacher", "giftnet/minibsds_teacher", measured=False),
            Run("giftnet", _CONFIG, sets=("objective.teacher={teacher}",)),
        ),
        seeds=(0, 1, 2),
    )

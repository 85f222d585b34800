"""iSSAM, GiftNet without distillation and GiftNet on a small set of photographs, three seeds each.

Command (again to resume; 12 runs of a few minutes on two CPU cores):
    python benchmarks/ablate.py --study configs/giftnet/study_minibsds.py \
        --workdir runs/giftnet_study --set data.data_dir=DATA
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "configs/giftnet/minibsds.py"


def get_study() -> Study:
    """The study. Each seed has a teacher of its own."""
    return Study(
        runs=(
            Run("issam", "configs/issam/minibsds.py"),
            Run("giftnet_no_rd", _CONFIG, overlays=("gift_no_rd",)),
            Run("teacher", "configs/giftnet/minibsds_teacher.py", measured=False),
            Run("giftnet", _CONFIG, sets=("objective.teacher={teacher}",)),
        ),
        seeds=(0, 1, 2),
    )

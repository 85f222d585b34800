"""GKNet, without its transformer and without modulation, on a small set of photographs, three seeds each.

Command (again to resume; 9 runs of about 2 minutes each on two CPU cores):
    jaxharm study --study gknet/study_minibsds \
        --workdir runs/gknet_study --set data.data_dir=DATA
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "gknet/minibsds"


def get_study() -> Study:
    """The study."""
    return Study(
        runs=(
            Run("no_modulation", _CONFIG, overlays=("no_modulation",)),
            Run("no_lre", _CONFIG, overlays=("no_lre",)),
            Run("gknet", _CONFIG),
        ),
        seeds=(0, 1, 2),
    )

"""Models of global curves and models that work from place to place, on changes of light, three seeds each.

Command (again to resume; 12 runs of some minutes each on two CPU cores; how to build the data: configs/pih/varying.py):
    jaxharm study --study comparisons/study_varying \
        --workdir runs/varying --set data.data_dir=DATA
"""

from jaxharm.studies.ablation import Run, Study


def get_study() -> Study:
    """The study; all runs are alike in steps, batch and size of the images."""
    return Study(
        runs=(
            Run("pih_no_shading", "pih/varying", overlays=("curves_only",)),
            Run("pih", "pih/varying"),
            Run("issam", "issam/varying"),
            Run("phnet", "phnet/varying"),
        ),
        about="CPU size: 200 steps of small networks. No published figure is comparable.",
    )

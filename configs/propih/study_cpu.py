"""A small ProPIH with the losses of all stages and of the last one alone, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study propih/study_cpu --workdir runs/propih_cpu --set data.data_dir=DATA
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "propih/minibsds"
_SETS = (
    *("data.name=demo", "eval.data=demo", "eval.split=test"),
    *("steps=40", "data.batch_size=4", "log.every=5", "data.paintings.textures=100"),
)


def get_study() -> Study:
    """The study."""
    return Study(
        runs=(
            Run("full", _CONFIG, sets=_SETS),
            Run("final_only", _CONFIG, overlays=("final_only",), sets=_SETS),
        ),
        about="CPU size: short runs of a small network on generated paintings. Its encoder is random, "
        "another one for each seed and the same for both rows: the values show that all of it works, and "
        "nothing about styles. No published figure is comparable.",
    )

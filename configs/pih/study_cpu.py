"""pih_light with its curves alone and with the shading map, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study pih/study_cpu --workdir runs/pih_cpu --set data.data_dir=DATA
"""

from jaxharm.studies.ablation import Run, Study

_SETS = (
    *("steps=80", "data.batch_size=8", "optim.warmup_steps=10", "ema_decay=0.95"),
    *("eval.every=0", "eval.protocol=default_64", "log.every=5", "log.images_every=0"),
)


def get_study() -> Study:
    """The study."""
    return Study(
        runs=(
            Run("curves_only", "pih/demo", overlays=("curves_only",), sets=_SETS),
            Run("curves_shading", "pih/demo", overlays=("curves_shading",), sets=_SETS),
        ),
        about="CPU size: short runs of a small network on the demo data, whose test images are framings "
        "and recolorings of the photographs of training. No published figure is comparable.",
    )

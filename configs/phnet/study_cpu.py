"""A tiny PHNet without PN blocks and with those of the release, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study phnet/study_cpu --workdir runs/phnet_cpu --set data.data_dir=DATA
"""

from jaxharm.studies.ablation import Run, Study

_SETS = (
    *("steps=120", "data.batch_size=8", "ema_decay=0.95"),
    *("eval.protocol=default_64", "log.every=10", "log.images_every=0"),
)


def get_study() -> Study:
    """The study."""
    return Study(
        runs=(
            Run("pn_none", "phnet/demo", overlays=("pn_none",), sets=_SETS),
            Run("pn_last_3", "phnet/demo", overlays=("pn_last_3",), sets=_SETS),
        ),
        about="CPU size: short runs of a tiny network, which paints every pixel anew, on the demo data, "
        "whose test images are framings and recolorings of the photographs of training. No published "
        "figure is comparable.",
    )

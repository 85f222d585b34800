"""iSSAM and GiftNet, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study giftnet/study_cpu --workdir runs/giftnet_cpu --set data.data_dir=DATA
"""

from jaxharm.studies.ablation import Run, Study

_SETS = (
    *("data.name=demo", "eval.data=demo", "eval.split=test"),
    *("steps=60", "data.batch_size=8", "optim.warmup_steps=10", "log.every=5", "ema_decay=0.95"),
)


def get_study() -> Study:
    """The study. One teacher serves all seeds."""
    return Study(
        runs=(
            Run("issam", "issam/minibsds", sets=_SETS),
            Run("teacher", "giftnet/minibsds_teacher", sets=_SETS, measured=False, once=True),
            Run("giftnet", "giftnet/minibsds", sets=(*_SETS, "objective.teacher={teacher}")),
        ),
        about="CPU size: short runs of networks of half the width on the demo data, whose test images "
        "are framings and recolorings of the photographs of training. No published figure is comparable.",
    )

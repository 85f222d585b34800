"""iSSAM and GiftNet, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study giftnet/study_cpu --workdir runs/giftnet_cpu --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 8 min beside other heavy work.
Ours (test, default_64: composite fMSE 952.01 / PSNR 26.70): issam 838.93 ± 60.87 / 27.09 ± 0.14; giftnet
858.80 ± 24.67 / 27.03 ± 0.01. Paired: fMSE +19.87, 95 % interval -15.08 to +67.44, P(better) 0.201, p 0.402; 34 seeds
needed: no difference that three seeds could show after 60 steps.
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

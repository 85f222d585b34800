"""iSSAM and GiftNet, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study giftnet/study_cpu --workdir runs/giftnet_cpu --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 8 min beside other heavy work.
Ours (test, default_64: composite fMSE 952.01 / PSNR 26.70): issam 876.17 ± 46.48 / 27.01 ± 0.14; giftnet
877.90 ± 47.97 / 26.96 ± 0.15. Paired: fMSE +1.73, 95 % interval -16.93 to +22.67, P(better) 0.438, p 0.877; 629 seeds
needed: no difference after 60 steps.
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

"""A small GKNet without and with modulation by its kernels, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study gknet/study_cpu --workdir runs/gknet_cpu --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 4 min beside other heavy work.
Ours (test, default_64: composite fMSE 952.01 / PSNR 26.70): no_modulation 831.44 ± 37.65 / 27.19 ± 0.26; gknet
822.74 ± 69.51 / 27.20 ± 0.34. Paired: fMSE -8.70, 95 % interval -43.92 to +28.71, P(better) 0.677, p 0.646; 116
seeds needed: no difference after 60 steps.
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "gknet/minibsds"
_SETS = (
    *("data.name=demo", "eval.data=demo", "eval.split=test", "eval.protocol=default_64"),
    *("steps=60", "data.batch_size=8", "optim.warmup_steps=10", "log.every=5", "ema_decay=0.95"),
)


def get_study() -> Study:
    """The study."""
    return Study(
        runs=(
            Run("no_modulation", _CONFIG, overlays=("no_modulation",), sets=_SETS),
            Run("gknet", _CONFIG, sets=_SETS),
        ),
        about="CPU size: short runs of a small network on the demo data, whose test images are framings "
        "and recolorings of the photographs of training. No published figure is comparable.",
    )

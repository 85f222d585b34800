"""A tiny PHNet without PN blocks and with those of the release, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study phnet/study_cpu --workdir runs/phnet_cpu --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 4 min beside other heavy work.
Ours (test, default_64: composite fMSE 952.01 / PSNR 26.70): pn_none 2422.74 ± 235.52 / 21.30 ± 0.37; pn_last_3
2402.94 ± 29.64 / 21.38 ± 0.06. Paired: fMSE -19.80, 95 % interval -235.34 to +196.02, P(better) 0.566, p 0.868; 901
seeds needed: no difference after 120 steps.
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

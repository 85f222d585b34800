"""A tiny PHNet without PN blocks and with those of the release, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study phnet/study_cpu --workdir runs/phnet_cpu --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 3 min beside other heavy work.
Ours (test, default_64: composite fMSE 952.01 / PSNR 26.70): pn_none 2429.00 ± 264.60 / 21.29 ± 0.42; pn_last_3
2401.84 ± 53.90 / 21.36 ± 0.11. Paired: fMSE -27.16, 95 % interval -252.22 to +189.07, P(better) 0.589, p 0.823; 504
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

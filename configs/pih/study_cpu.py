"""pih_light with its curves alone and with the shading map, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study pih/study_cpu --workdir runs/pih_cpu --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 9 min beside other heavy work.
Ours (test, default_64: composite fMSE 952.01 / PSNR 26.70): curves_only 572.29 ± 5.15 / 28.79 ± 0.08; curves_shading
548.75 ± 7.95 / 28.89 ± 0.10. Paired: fMSE -23.54, 95 % interval -58.54 to -0.63, P(better) 0.979, p 0.0425 (PSNR
+0.09, -0.12 to +0.29, p 0.328): a small gain in fMSE, at the edge of what three seeds can show.
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

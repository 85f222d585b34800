"""Two controls of every comparison: the same run twice, and a run that can learn nothing.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study pih/study_control --workdir runs/control --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 6 min beside other heavy work.
Ours (test, default_64: composite fMSE 952.01 / PSNR 26.70; two seeds): plain 545.19 ± 7.09 / 28.87 ± 0.13; again the
same, every difference exactly zero ("equal", P(better) 0.500, p 1); shuffled_targets 2823.95 ± 114.05 / 21.31 ± 0.29,
far worse than the composite.
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "pih/demo"
_SETS = (
    *("steps=80", "data.batch_size=8", "optim.warmup_steps=10", "ema_decay=0.95"),
    *("eval.every=0", "eval.protocol=default_64", "log.every=5", "log.images_every=0"),
)


def get_study() -> Study:
    """The study: a difference of exactly zero, and targets of other photographs."""
    return Study(
        runs=(
            Run("plain", _CONFIG, sets=_SETS),
            Run("again", _CONFIG, sets=_SETS),
            Run("shuffled_targets", _CONFIG, sets=(*_SETS, "data.shuffle_targets=true")),
        ),
        seeds=(0, 1),
        about="Controls: the run again is the run plain once more and must not differ; shuffled_targets is "
        "taught with the photographs of other records and must not be better than the composite.",
    )

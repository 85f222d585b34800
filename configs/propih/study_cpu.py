"""A small ProPIH with the losses of all stages and of the last one alone, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study propih/study_cpu --workdir runs/propih_cpu --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 10 min beside other heavy work.
Ours (painterly_64; composite: S 1.000, content 0.0000): full S 1.297 ± 0.089, content 0.0446 ± 0.0105; final_only
1.296 ± 0.089, 0.0448 ± 0.0103. Paired: S -0.001, 95 % interval -0.003 to +0.001, P(better) 0.865, p 0.271; 8 seeds
needed. After 40 steps both still paint every object in one color, worse than the composite: it shows that training
and measuring work.
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "propih/minibsds"
_SETS = (
    *("data.name=demo", "eval.data=demo", "eval.split=test"),
    *("steps=40", "data.batch_size=4", "log.every=5", "data.paintings.textures=100"),
    # Half the width, and features that need no file.
    *("objective.random_encoder=true", "model.vgg_input_range=minus1_1", "model.width=32"),
    "optim.lr=2e-4",
)


def get_study() -> Study:
    """The study."""
    return Study(
        runs=(
            Run("full", _CONFIG, sets=_SETS),
            Run("final_only", _CONFIG, overlays=("final_only",), sets=_SETS),
        ),
        about="CPU size: short runs of a small network on generated paintings. Its encoder is random, "
        "another one for each seed and the same for both rows: the values show that all of it works, and "
        "nothing about styles. No published figure is comparable.",
    )

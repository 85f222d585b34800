"""A small ProPIH with the losses of all stages and of the last one alone, three seeds each, in minutes on a CPU.

Command (after python -m data_pipelines.build demo --data-dir DATA; again to resume):
    jaxharm study --study propih/study_cpu --workdir runs/propih_cpu --set data.data_dir=DATA
Hardware: 2 CPU cores, with --pack process 8 min beside other heavy work.
Ours (painterly_64; composite: S 1.000, content 0.0000): full S 1.234 ± 0.094, content 0.0473 ± 0.0130; final_only
1.241 ± 0.100, 0.0471 ± 0.0130. Paired: S +0.006, 95 % interval -0.000 to +0.011, P(better) 0.029, p 0.0595; 9 seeds
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

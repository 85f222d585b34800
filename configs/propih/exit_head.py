"""ProPIH's exit head, for a generator that is trained already.

Paper: arXiv 2312.10264 has one, its release does not: the recipe is ours (docs/papers/propih.md, "Training").
Command:
    python train.py --config configs/propih/exit_head.py --workdir runs/propih_exit --set data.data_dir=DATA \
        --set objective.generator=runs/propih [--set objective.labels=labels.csv]
The labeled composites are one ordered pass over `eval`; labels are made from the results themselves, or read from a
csv file of the columns id,stage, which people have written. labels.csv, report.json and weights/ are left in the
work folder; weights/ is the whole model, for: jaxharm harmonize --stage auto.
Hardware: not yet run.
Published: no number could be read.
Ours: not yet run. On minibsds and textures, see minibsds_exit.py.
"""

from dataclasses import replace

from jaxharm.config import EvalConfig, OptimConfig, TrainConfig
from jaxharm.papers.propih.exit_train import ExitHeadObjective
from jaxharm.registry import model_config

from . import coco_wikiart


def get_config() -> TrainConfig:
    """The run."""
    base = coco_wikiart.get_config()
    return replace(
        base,
        model=model_config("propih", exit_head=True),
        objective=ExitHeadObjective(),
        data=replace(base.data, batch_size=16),
        optim=OptimConfig(name="adam", lr=1e-4),
        eval=EvalConfig(data="coco_wikiart", protocol="painterly_256", paintings="coco_wikiart"),
        epochs=10,
    )

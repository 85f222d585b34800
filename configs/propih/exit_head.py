"""ProPIH's exit head, for a generator that is trained already.

Paper: arXiv 2312.10264 has one, its release does not: the recipe is ours (docs/papers/propih.md, "Training").
Command:
    python train.py --config configs/propih/exit_head.py --workdir runs/propih_exit --set data.data_dir=DATA \
        --set objective.generator=runs/propih
Labels are made from the results themselves. To learn from people: build their composites as a set (folders comp/, mask/,
style/), and add --set data.name=SET --set data.split=test --set data.paintings.name=own --set data.labels=labels.csv, a csv file
of the columns id,stage. weights/ is the whole model, for: jaxharm harmonize --stage auto.
Hardware: not yet run.
Published: no number could be read.
Ours: not yet run. On minibsds and textures, see minibsds_exit.py.
"""

from dataclasses import replace

from jaxharm.config import EvalConfig, OptimConfig, TrainConfig
from jaxharm.papers.propih.exit_system import ExitHeadObjective
from jaxharm.papers.propih.model import STAGES
from jaxharm.registry import model_config

from . import coco_wikiart


def get_config() -> TrainConfig:
    """The run."""
    base = coco_wikiart.get_config()
    return replace(
        base,
        system="propih_exit",
        model=model_config("propih_exit"),
        objective=ExitHeadObjective(),
        data=replace(base.data, batch_size=16, label_classes=STAGES),
        optim=OptimConfig(name="adam", lr=1e-4),
        eval=EvalConfig(data="coco_wikiart", protocol="painterly_256", paintings="coco_wikiart"),
        epochs=10,
    )

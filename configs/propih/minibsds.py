"""A small ProPIH on a few hundred photographs, on generated paintings, on a CPU: does training work?

Paper: none. The encoder is random (objective.random_encoder), so that the results mean nothing; the losses fall.
Command:
    python -m data_pipelines.build folder --manual-dir MINIBSDS --data-dir DATA --name minibsds
    python train.py --config configs/propih/minibsds.py --workdir runs/propih_minibsds --set data.data_dir=DATA
Hardware: 2 CPU cores, 9 min (shared with other jobs).
Published: nothing on this data.
Ours: from step 1 to step 600 the losses of the stages 1 to 4 fall from 0.566, 0.826, 1.356, 1.503 to 0.066, 0.113, 0.177, 0.231
(content and style of coarse and final results; seed 0; before evaluation measured style and content, which changed no training).
Evaluation of such a run (S and content of every stage): not yet run.
"""

from dataclasses import replace

from jaxharm.config import (
    CheckpointConfig,
    EvalConfig,
    LogConfig,
    OptimConfig,
    PaintingsConfig,
    TrainConfig,
)
from jaxharm.papers.propih.discriminator import ProPIHDiscriminatorConfig
from jaxharm.papers.propih.model import ProPIHConfig
from jaxharm.papers.propih.system import ProPIHObjective

from . import coco_wikiart


def get_config() -> TrainConfig:
    """The run."""
    base = coco_wikiart.get_config()
    return replace(
        base,
        model=ProPIHConfig(width=32, trained_size=64),
        objective=ProPIHObjective(
            random_encoder=True, discriminator=ProPIHDiscriminatorConfig(width=16)
        ),
        data=replace(
            base.data,
            name="minibsds",
            batch_size=8,
            image_size=64,
            num_workers=0,
            paintings=PaintingsConfig(name="textures", textures=500),
        ),
        optim=OptimConfig(name="adam", lr=2e-4, b1=0.5),
        eval=EvalConfig(
            data="minibsds", split="val", protocol="painterly_64", paintings="textures"
        ),
        checkpoint=CheckpointConfig(every=200, best="last"),
        log=LogConfig(every=50, images_every=0),
        epochs=None,
        steps=600,
    )

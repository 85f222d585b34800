"""The demo: pih_light on composites made from photographs that come with scikit-image and scikit-learn.

Paper: none; it shows that everything works, in minutes, on any machine.
Command:
    make demo
    (or: python -m data_pipelines.build demo --data-dir DATA
         python train.py --config configs/pih/demo.py --workdir demo/run --set data.data_dir=DATA)
Hardware: 2 CPU cores.
Published: nothing. Held back: framings and recolourings; the photographs are those of training.
Ours: test fMSE 186.1 / PSNR 32.74, identity 1014.8 / 26.32 (seed 0; `make demo` took 6 min 13 s on a fresh
clone with a fresh environment, beside a running test suite).
"""

from jaxharm.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    LogConfig,
    OptimConfig,
    SynthesisConfig,
    TrainConfig,
)
from jaxharm.models.pih import PIHConfig
from jaxharm.systems.pih import PIHObjective


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="pih_light",
        model=PIHConfig(
            light=True,
            identity_start=True,  # ours: an untrained model returns nearly the composite
            predict_size=64,  # ours: both nets look at 64x64, the renderer works at any size
            shading_strides=(2,) * 6,  # ours: an 8x8 grid at that size
            region_statistics=True,  # ours: the data are too few to learn to measure them
        ),
        objective=PIHObjective(reconstruction="fnmse"),  # ours: the foreground decides
        data=DataConfig(
            name="demo",
            batch_size=32,
            image_size=64,
            image_resize="linear_aa",
            # Recolouring pairs alike keeps the nets from learning the few photographs by heart (ours).
            augment=AugmentConfig(flip=0.5, crop_scale=(0.5, 1.0), recolor=0.8),
            synthesis=SynthesisConfig(probability=0.5),
        ),
        optim=OptimConfig(
            name="adamw",
            lr=1e-3,
            weight_decay=1e-2,
            schedule="cosine",
            warmup_steps=100,
            clip_norm=1.0,
        ),
        eval=EvalConfig(every=0, data="demo", split="test"),
        checkpoint=CheckpointConfig(every=500, best="last"),
        log=LogConfig(every=50, images_every=1000),
        steps=500,
        ema_decay=0.998,
    )

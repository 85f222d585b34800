"""A tiny PHNet on composites made from photographs that come with scikit-image and scikit-learn.

Paper: none; it shows that the training of this system works, in minutes, on any machine.
Command:
    python -m data_pipelines.build demo --data-dir DATA
    python train.py --config configs/phnet/demo.py --workdir runs/phnet_demo --set data.data_dir=DATA
Hardware: 2 CPU cores.
Published: nothing on this data.
Ours: not yet run.
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
from jaxharm.papers.phnet.model import PHNetConfig
from jaxharm.papers.phnet.system import PHNetObjective


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="phnet_ffhqh",
        model=PHNetConfig.tiny(),
        objective=PHNetObjective(freeze_idle_biases=True),
        data=DataConfig(
            name="demo",
            batch_size=16,
            image_size=64,
            image_resize="linear_aa",
            augment=AugmentConfig(flip=0.5, crop_scale=(0.5, 1.0)),
            synthesis=SynthesisConfig(probability=0.5),
        ),
        optim=OptimConfig(
            name="lion", lr=1e-3, b1=0.9, b2=0.99, schedule="cosine", warmup_steps=20
        ),
        eval=EvalConfig(every=0, data="demo", split="test"),
        checkpoint=CheckpointConfig(every=250, best="psnr"),
        log=LogConfig(every=25, images_every=250),
        steps=500,
    )

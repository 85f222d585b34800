"""PHNet on FFHQH at 256x256: the released training configuration.

Paper: arXiv 2402.17561, FFHQH at 256x256. Values: docs/papers/phnet.md, "Training" (released train.yaml).

    python train.py --config configs/phnet/ffhqh.py --workdir runs/phnet_ffhqh

Data: `python -m data_pipelines.build ffhqh ...`; its construction is ours, since the recipe of the
released data set is not public, so numbers are not comparable with the paper's.
Hardware and time: released run on 4 GPUs, 16 images each; ours not yet run.
Published: no table at hand; the release keeps checkpoints from 34.0 dB validation PSNR.
Ours: not yet run.
"""

from dataclasses import replace

from jaxharm.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    OptimConfig,
    TrainConfig,
)
from jaxharm.papers.phnet.model import PHNetConfig
from jaxharm.papers.phnet.system import PHNetObjective


def get_config() -> TrainConfig:
    """The resolved configuration."""
    return TrainConfig(
        system="phnet_ffhqh",
        model=PHNetConfig(),
        objective=PHNetObjective(),  # 0.2 PSNR + 0.01 FnMSE + 0.01 gradient
        data=DataConfig(
            name="ffhqh",
            batch_size=64,  # 16 per GPU on 4 GPUs
            image_size=256,
            image_resize="linear_aa",  # Pillow bilinear
            mask_resize="linear_binary",  # resized as 8-bit, then > 0.5
            num_workers=16,
            augment=AugmentConfig(flip=0.3),
        ),
        optim=OptimConfig(name="lion", lr=1e-5, b1=0.9, b2=0.99),  # constant, no weight decay
        eval=EvalConfig(every=5000, data="ffhqh", split="val", batch_size=64, protocol="phnet_256"),
        checkpoint=CheckpointConfig(every=5000, best="psnr"),
        seed=42,
        epochs=300,
    )


def at_side(side: int, batch_size: int) -> TrainConfig:
    """The run with images of another size, in training and evaluation."""
    base = get_config()
    return replace(
        base,
        data=replace(base.data, image_size=side, batch_size=batch_size),
        eval=replace(base.eval, batch_size=batch_size, protocol=f"phnet_{side}"),
    )

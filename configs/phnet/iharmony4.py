"""PHNet on iHarmony4 at 512x512, with the configuration of the released iHarmony4 checkpoint.

Paper: arXiv 2402.17561, iHarmony4. The architecture is that of the checkpoint (two PN blocks, grids
10 and 5); its training recipe is not stated, so the released FFHQH recipe is used here.
Command:
    python train.py --config configs/phnet/iharmony4.py --workdir runs/phnet_iharmony4
Hardware: released runs used 4 GPUs, 4 images each at 512x512; ours not yet run.
Published: no table at hand.
Ours: not yet run.
"""

from jaxharm.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    OptimConfig,
    TrainConfig,
)
from jaxharm.papers.phnet.system import PHNetObjective
from jaxharm.registry import model_config


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="phnet_iharmony4",
        model=model_config("phnet_iharmony4"),
        objective=PHNetObjective(),  # 0.2 PSNR + 0.01 FnMSE + 0.01 gradient
        data=DataConfig(
            name="iharmony4",
            split="train+validation",  # the official training list
            batch_size=16,  # 4 per GPU on 4 GPUs
            image_size=512,
            image_resize="linear_aa",  # Pillow bilinear, aspect ratio not kept
            mask_resize="nearest_binary",  # Pillow 1-bit
            num_workers=16,
            augment=AugmentConfig(flip=0.3),
        ),
        optim=OptimConfig(name="lion", lr=1e-5, b1=0.9, b2=0.99),  # constant, no weight decay
        # There is no public validation list; the release would validate on the test list.
        eval=EvalConfig(every=0, data="iharmony4", split="test", protocol="phnet_512"),
        checkpoint=CheckpointConfig(every=5000, best="psnr"),
        seed=42,
        epochs=300,
    )

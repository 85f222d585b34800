"""GKNet on iHarmony4 at 256x256.

Paper: arXiv 2305.11676. Neither code nor recipe was available: the values are a
reconstruction (docs/papers/gknet.md, "What we decided"). Overlays: protocol_issam, protocol_dht (the two recipes it stands between), and the
rows of ablations.py.
Command:
    python train.py --config configs/gknet/iharmony4.py --workdir runs/gknet_iharmony4
Hardware: the paper's is not known; ours not yet run.
Published (All): PSNR 39.53; 0.78 dB above the best other method, fMSE 11.5 % and MSE 6.7 % below it.
The rest of its tables could not be found.
Ours (reconstruction): not yet run. Above 38.19 dB (docs/papers/gknet.md) is the least sign of a sound implementation.
"""

from jaxharm.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    OptimConfig,
    TrainConfig,
)
from jaxharm.papers.gknet.model import GKNetConfig
from jaxharm.papers.gknet.system import GKNetObjective


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="gknet",
        model=GKNetConfig(),
        objective=GKNetObjective(),
        data=DataConfig(
            name="iharmony4/all_1024",  # HAdobe5k limited to 1024 pixels beforehand
            split="train+validation",  # the official training list, 65 742 pairs
            batch_size=16,
            image_size=256,
            image_resize="linear_noaa",
            num_workers=16,
            augment=AugmentConfig(flip=0.5, crop_scale=(0.5, 1.0)),
        ),
        optim=OptimConfig(
            name="adam",
            lr=2e-4,
            schedule="step",
            warmup_steps=1000,
            milestones=(105 / 120, 115 / 120),
            gamma=0.1,
            clip_norm=1.0,
        ),
        # There is no public validation list, and nothing is selected: the last epoch counts.
        eval=EvalConfig(
            every=0, data="iharmony4/all_1024", split="test", protocol="iharmony4_eval_256"
        ),
        checkpoint=CheckpointConfig(every=4000, best="last"),
        epochs=120,
        precision="bfloat16",
    )

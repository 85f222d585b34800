"""The small model that ships with jaxharm, trained on freely licensed photographs, on a CPU.

Paper: none; PIH's curves and rendering with a network of ours (docs/papers/pih.md, "Network").
Data: photographs with object masks whose licenses allow it (public domain, CC0, CC-BY), listed in the
model card's ATTRIBUTION.csv; any folder of photographs and masks takes their place.
Command:
    python -m data_pipelines.build photos --manual-dir FREE_PHOTOS --data-dir DATA --name free_photos --max-side 256
    python train.py --config configs/pih/shipped.py --workdir runs/shipped --set data.data_dir=DATA
    python -m jaxharm export runs/shipped OUT --float16 --license Apache-2.0 --attribution ATTRIBUTION.csv --recommend-strength 0.8
Hardware: 2 CPU cores shared with other work, 16 min (data.num_workers=2; the numbers do not depend on it).
Published: nothing.
Ours (revision 86d5bd3; seed 0, last step, default_256, strength 1): free_photos val fMSE 640.9 / PSNR 33.01 (identity 838.3 / 31.45), 8.7 % made worse
by more than 10 %; minibsds val 849.9 / 30.91 (1123.9 / 29.56), 14.1 %. With harm_weight 2.0: 654.1 / 33.18, 10.9 %; 841.0 / 30.90, 16.2 %.
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
from jaxharm.papers.pih.small import PIHSmallConfig
from jaxharm.papers.pih.small_system import PIHSmallObjective


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="pih_small",
        model=PIHSmallConfig(),
        objective=PIHSmallObjective(harm_weight=2.5, unharmed=100.0),
        data=DataConfig(
            name="free_photos",
            batch_size=64,
            image_size=64,
            image_resize="linear_aa",
            mask_resize="linear",
            # Every photograph in many casts, and every object in many colors: 203 photographs are few.
            augment=AugmentConfig(flip=0.5, crop_scale=(0.4, 1.0), recolor=0.8),
            # Some photographs as they are: what is right must stay.
            synthesis=SynthesisConfig(unchanged=0.15),
        ),
        optim=OptimConfig(
            name="adamw", lr=1e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=50
        ),
        eval=EvalConfig(every=500, data="free_photos", split="val"),
        checkpoint=CheckpointConfig(every=500, best="last"),
        log=LogConfig(every=50, images_every=1000),
        steps=3000,
        ema_decay=0.998,
    )

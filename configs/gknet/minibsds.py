"""A small GKNet on a small set of real photographs, in about 2 minutes on two CPU cores.

Paper: none; a small-data recipe of ours. What differs from configs/gknet/iharmony4.py is marked "ours".
Command (all runs and seeds at once: see study_minibsds.py):
    python -m data_pipelines.build folder --manual-dir MINIBSDS --data-dir DATA --name minibsds
    python -m data_pipelines.build photos --manual-dir LE_PHOTOS --data-dir DATA --name le_photos
    python train.py --config configs/gknet/minibsds.py --workdir runs/gknet_minibsds --set data.data_dir=DATA
Hardware: 2 CPU cores.
Published: nothing on this data. Baselines (val, default_256): identity fMSE 1123.9 / PSNR 29.56; ridge regression 904.4 / 30.40.
Ours (revision 05a0b7a), seed 0: val fMSE 1086.9 / MSE 120.4 / PSNR 29.74, predicted at 64 and applied at 256 as `harmonize` does. The study
(study_minibsds.py) was measured before evaluation did so, the network itself at 256: val fMSE / MSE / PSNR over seeds 0, 1, 2: 1092.3 ± 48.7 / 121.9 ± 5.3 / 29.69 ± 0.23; without the LRE
1103.2 ± 35.4 / 123.2 ± 4.6 / 29.63 ± 0.17; without modulation 1121.6 ± 54.0 / 124.9 ± 6.0 / 29.57 ± 0.22. Seed by seed, modulation gives
+0.12 ± 0.04 dB and 29 ± 31 fMSE; three seeds show no effect of the LRE. The same weights at default_64 (identity 1000.9 / 115.4 / 30.15):
970.4 ± 30.4 / 109.6 ± 3.5 / 30.33 ± 0.17; 985.2 ± 3.4 / 110.4 ± 2.0 / 30.21 ± 0.04; 999.0 ± 36.4 / 111.9 ± 4.1 / 30.17 ± 0.11.
The overlays that name level 3 do not fit: this network's deepest decoder level is 2.
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
from jaxharm.papers.gknet.model import GKNetConfig
from jaxharm.papers.gknet.system import GKNetObjective


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="gknet",
        model=GKNetConfig(
            base=8,  # ours: a quarter of the width
            depth_levels=4,  # ours: 8x8 tokens of a 64x64 image
            lre_dim=64,
            lre_depth=2,
            lre_heads=4,
            lre_ffn=128,
            head="residual",  # ours: an untrained network returns the composite
            identity_start=True,
            trained_size=64,
        ),
        objective=GKNetObjective(a_min=50.0),  # ours: of a 64x64 image
        data=DataConfig(
            name="minibsds+le_photos",
            batch_size=16,
            image_size=64,
            image_resize="linear_aa",
            # Recoloring pairs alike keeps the net from learning the few photographs by heart (ours).
            augment=AugmentConfig(flip=0.5, crop_scale=(0.5, 1.0), recolor=0.8),
            synthesis=SynthesisConfig(probability=0.8),
        ),
        optim=OptimConfig(
            name="adamw",
            lr=2e-3,
            weight_decay=1e-2,
            schedule="cosine",
            warmup_steps=50,
            clip_norm=1.0,
        ),
        eval=EvalConfig(every=0, data="minibsds", split="val"),
        checkpoint=CheckpointConfig(every=300, best="last"),
        log=LogConfig(every=50, images_every=0),
        steps=600,
        ema_decay=0.99,
    )

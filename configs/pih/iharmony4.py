"""PIH on iHarmony4 at 256x256, in two streams: its data variant and its low-resolution networks.

Paper: arXiv 2303.00157 (docs/papers/pih.md, "Training"). No script of it was released: the optimization is that of Artist-Retouched.
iHarmony4 has no inpainted plates: they are filled by diffusion (ours), and composites of the second stream are
pasted onto the photographs themselves.
Command:
    python -m data_pipelines.build iharmony4 --manual-dir IHARMONY4 --data-dir DATA
    python train.py --config configs/pih/iharmony4.py --workdir runs/pih_iharmony4 --set data.data_dir=DATA
Hardware: not yet run.
Published: no table at hand.
Ours: not yet run.
"""

from dataclasses import replace

from jaxharm.config import AugmentConfig, DataConfig, EvalConfig, TrainConfig, UnpairedConfig
from jaxharm.registry import model_config

from . import artist_retouched


def get_config() -> TrainConfig:
    """The run."""
    return replace(
        artist_retouched.get_config(),
        model=model_config("pih", lowres=True),
        data=DataConfig(
            name="iharmony4",
            split="train+validation",  # the official training list
            batch_size=8,
            image_size=256,
            mask_resize="linear",
            num_workers=8,
            augment=AugmentConfig(flip=0.0),
            unpaired=UnpairedConfig(enabled=True, brightness=0.3, contrast=0.1),
        ),
        eval=EvalConfig(every=0, data="iharmony4", split="test"),
    )

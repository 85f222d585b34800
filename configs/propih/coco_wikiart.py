"""ProPIH as released: COCO objects on WikiArt paintings, 256x256, with the discriminator.

Paper: arXiv 2312.10264; the released training script (docs/papers/propih.md, "Training"). The encoder comes from the file that
objective.encoder names.
Command:
    python -m data_pipelines.build coco_wikiart --manual-dir DOWNLOADS --data-dir DATA
    python train.py --config configs/propih/coco_wikiart.py --workdir runs/propih --set data.data_dir=DATA \
        --set objective.encoder=vgg_normalised.pth
Ours: photographs and paintings are paired anew in every epoch; the official fixed pairing is
--set data.paintings.fixed_pairing=true.
Hardware: released run 1 GPU; ours not yet run.
Published: no number could be read.
Ours: not yet run.
"""

from jaxharm.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    OptimConfig,
    PaintingsConfig,
    TrainConfig,
)
from jaxharm.papers.propih.system import ProPIHObjective
from jaxharm.registry import model_config

EPOCHS, CONSTANT = 30, 20


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="propih",
        model=model_config("propih"),
        objective=ProPIHObjective(),  # all three weights 1
        data=DataConfig(
            name="coco_wikiart",
            batch_size=4,
            image_size=256,
            image_resize="linear_aa",
            mask_resize="linear_aa",  # masks stay soft
            num_workers=8,
            augment=AugmentConfig(flip=0.0),
            paintings=PaintingsConfig(name="coco_wikiart"),
        ),
        # One Adam each for the model and the discriminator; 10/11, 9/11 ... in the last epochs.
        optim=OptimConfig(
            name="adam",
            lr=2e-4,
            b1=0.5,
            schedule="stairs",
            milestones=tuple(epoch / EPOCHS for epoch in range(CONSTANT, EPOCHS)),
        ),
        eval=EvalConfig(data="coco_wikiart", protocol="painterly_256", paintings="coco_wikiart"),
        checkpoint=CheckpointConfig(every=5000, best="last"),  # nothing is selected
        epochs=EPOCHS,
    )

"""PIH as released: dual-stream training on Artist-Retouched pairs at 512x512.

Paper: arXiv 2303.00157; the released training script (docs/papers/pih.md, "Training"). The data set is private: give your own
photographs, edits and plates in its layout.
Command:
    python -m data_pipelines.build artist_retouched --manual-dir RETOUCHED --data-dir DATA
    python -m data_pipelines.build realhm --manual-dir REALHM --data-dir DATA
    python train.py --config configs/pih/artist_retouched.py --workdir runs/pih --set data.data_dir=DATA
    (--overlay light for pih_light; the paper's ablations are overlays too, see ablations.py)
Hardware: released run 1 GPU; ours not yet run.
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
    UnpairedConfig,
)
from jaxharm.papers.pih.system import AdversarialConfig, PIHObjective
from jaxharm.registry import model_config

EPOCHS = 39  # of the released weights; the script itself goes on for ever


def get_config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        system="pih",
        model=model_config("pih"),  # mask_offset 0.5, as in the training script
        objective=PIHObjective(adversarial=AdversarialConfig()),  # w 0.92, streams half and half
        data=DataConfig(
            name="artist_retouched",
            batch_size=8,
            image_size=512,
            mask_resize="linear",  # masks stay soft
            num_workers=8,
            augment=AugmentConfig(flip=0.0),
            unpaired=UnpairedConfig(enabled=True),
        ),
        # One optimizer each for the model and the discriminator.
        optim=OptimConfig(
            name="adam",
            lr=4e-5,
            schedule="step",
            # Halved at the start of epochs 20, 40 and 60: one of them lies in the run.
            milestones=tuple(e / EPOCHS for e in (19, 39, 59) if e < EPOCHS),
            gamma=0.5,
        ),
        # The release selects nothing; RealHM (evaluation only) shows where a run stands.
        eval=EvalConfig(every=0, data="realhm", split="test"),
        checkpoint=CheckpointConfig(every=5000, best="last"),
        epochs=EPOCHS,
    )

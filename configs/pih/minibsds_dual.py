"""pih_light in two streams on a small set of real photographs, on a CPU.

Paper: none; the recipe of minibsds.py with a small discriminator. Pairs: minibsds. Second stream: half
ready-made composites (le_composites), half placements made from the photographs on the fly.
Command:
    python -m data_pipelines.build folder --manual-dir MINIBSDS --data-dir DATA --name minibsds
    python -m data_pipelines.build photos --manual-dir LE_PHOTOS --data-dir DATA --name le_photos
    python -m data_pipelines.build photos --manual-dir LE_COMPOSITES --data-dir DATA --name le_composites
    python train.py --config configs/pih/minibsds_dual.py --workdir runs/pih_dual --set data.data_dir=DATA
Hardware: 2 CPU cores.
Published: nothing on this data. Baselines: see minibsds.py.
Ours: not yet run.
"""

from dataclasses import replace

from configs.pih import minibsds
from jaxharm.config import TrainConfig, UnpairedConfig
from jaxharm.models.pih_discriminator import PIHDiscriminatorConfig
from jaxharm.systems.pih import AdversarialConfig


def get_config() -> TrainConfig:
    """The run."""
    config = minibsds.get_config()
    adversarial = AdversarialConfig(discriminator=PIHDiscriminatorConfig(width=4))  # ours
    return replace(
        config,
        objective=replace(config.objective, adversarial=adversarial),
        data=replace(
            config.data,
            unpaired=UnpairedConfig(
                enabled=True,
                composites="le_composites",
                composites_share=0.5,
                translate=2,  # ours: of 64 pixels
                jitter_pairs=False,  # ours: most pairs are recoloured already
            ),
        ),
    )

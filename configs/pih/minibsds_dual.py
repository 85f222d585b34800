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
Ours (revision b415de, evaluated at 256 by the network itself, not yet as harmonize applies it): val fMSE 912.9 / MSE 98.2 / PSNR 30.44 (seed 0, last step; no step is selected on val); fMSE / PSNR over the
run: 1000 / 30.19, 923 / 30.43, 918 / 30.52, 907 / 30.54, 914 / 30.46, 913 / 30.44 every 200 steps. An earlier
version of the code ended at 890.6 / 30.55 with the same seed. The discriminator's
weighted loss stays near 0.024 (0.50 on the model's images, 0.09 on real ones before weighting). About 20 minutes on
a shared machine.
"""

from dataclasses import replace

from jaxharm.config import TrainConfig, UnpairedConfig
from jaxharm.papers.pih.discriminator import PIHDiscriminatorConfig
from jaxharm.papers.pih.system import AdversarialConfig

from . import minibsds


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
                jitter_pairs=False,  # ours: most pairs are recolored already
            ),
        ),
    )

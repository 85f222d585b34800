"""pih_light on pairs or photographs of your own: what `jaxharm train --data NAME` runs without --config.

Paper: none; the small-data recipe of minibsds.py, shorter, on any built set with splits train and val.
Command:
    python -m data_pipelines.build folder --manual-dir MY_PAIRS --data-dir DATA --name mine
    python train.py --config configs/pih/own.py --data mine --workdir runs/mine --set data.data_dir=DATA
Hardware: 2 CPU cores, 10 min (other work took most of them; 3 min 48 s of CPU time).
Published: nothing.
Ours: on 20 pairs of a private set (16 to train on, 4 held back, each changed in another way), val fMSE 165.3 / PSNR 36.60 at step 50, which is kept, and
worse from step 75 on; identity 294.5 / 33.15 (seed 0). Four pictures chose the state and are those measured: no number for others.
"""

from dataclasses import replace

from jaxharm.config import CheckpointConfig, EvalConfig, SynthesisConfig, TrainConfig

from . import minibsds


def get_config() -> TrainConfig:
    """The recipe of minibsds, shorter; the state that does best on the pairs held back is kept."""
    config = minibsds.get_config()
    return replace(
        config,
        data=replace(config.data, name="mine", synthesis=SynthesisConfig(probability=0.8)),
        optim=replace(config.optim, lr=3e-4, warmup_steps=25),
        eval=EvalConfig(every=25, data="mine", split="val"),
        checkpoint=CheckpointConfig(every=100, best="fmse"),
        steps=200,
    )

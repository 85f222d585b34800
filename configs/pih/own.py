"""pih_light on pairs or photographs of your own: what `jaxharm train --data NAME` runs without --config.

Paper: none; the small-data recipe of minibsds.py, shorter, on any built set with splits train and val.
Command:
    python -m data_pipelines.build folder --manual-dir MY_PAIRS --data-dir DATA --name mine
    python train.py --config configs/pih/own.py --data mine --workdir runs/mine --set data.data_dir=DATA
Hardware: 2 CPU cores.
Published: nothing.
Ours: not yet run.
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

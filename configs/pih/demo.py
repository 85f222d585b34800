"""The demo: pih_light on composites made from photographs that come with scikit-image and scikit-learn.

Paper: none; it shows that everything works, in minutes, on any machine.
Command:
    make demo
    (or: python -m data_pipelines.build demo --data-dir DATA
         python train.py --config configs/pih/demo.py --workdir demo/run --set data.data_dir=DATA)
Hardware: 2 CPU cores.
Published: nothing. Held back: framings and recolorings; the photographs are those of training.
Ours: test fMSE 184.2 / PSNR 32.80, identity 1014.8 / 26.32 (seed 0, jax 0.10.2). Rounding differs between versions and
machines: an earlier run ended 3 % apart. `make demo` took 6 min 13 s on a fresh clone with a fresh
environment, beside a running test suite.
"""

from dataclasses import replace

from jaxharm.config import EvalConfig, SynthesisConfig, TrainConfig

from . import minibsds


def get_config() -> TrainConfig:
    """The recipe of minibsds, on the demo data and shorter."""
    config = minibsds.get_config()
    return replace(
        config,
        data=replace(config.data, name="demo", synthesis=SynthesisConfig(probability=0.5)),
        eval=EvalConfig(data="demo", split="test"),
        steps=500,
    )

"""A tiny run of every registered system, for the tests of what all systems must guarantee."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
from toy_system import toy_config

from jaxharm import registry
from jaxharm.config import CheckpointConfig, EvalConfig, LogConfig, OptimConfig, load_config
from jaxharm.systems import make_system

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
NAMES = [name for name in registry.list_models() if name != "toy"]
SIDE = 64


def tiny_config(name, *, batch_size=8, **changes):
    """The published run of `name` with a tiny model, SGD and a schedule of ten steps."""
    if name == "toy":
        return _small_run(toy_config(), batch_size, 8, changes)
    for path in sorted(CONFIGS.glob("*/*.py")):
        if path.name not in ("ablations.py", "__init__.py"):
            config = load_config(path)
            if config.system == name:
                model = registry.resolve(registry.get(name).config)
                accepted = inspect.signature(model.tiny).parameters
                preset = {k: v for k, v in registry.get(name).preset.items() if k in accepted}
                config = dataclasses.replace(config, model=model.tiny(**preset))
                return _small_run(config, batch_size, SIDE, changes)
    raise LookupError(f"no config under {CONFIGS} trains {name}")


def _small_run(config, batch_size, side, changes):
    return dataclasses.replace(
        config,
        **{
            "steps": 10,
            "epochs": None,
            "data": dataclasses.replace(config.data, batch_size=batch_size, image_size=side),
            "optim": OptimConfig(name="sgd", lr=1e-2, b1=0.9),
            "eval": EvalConfig(),
            "checkpoint": CheckpointConfig(every=2),
            "log": LogConfig(every=1, images_every=0, tensorboard=False),
            **changes,
        },
    )


def tiny_system(name, **changes):
    config = tiny_config(name, **changes)
    return make_system(config, total_steps=config.steps)


def tiny_batch(config, step=0):
    """A batch of smooth images with one blob of changed colour each; a function of `step`."""
    rng = np.random.default_rng([11, step])
    count, side = config.data.batch_size, config.data.image_size
    coarse = rng.uniform(0.1, 0.9, (count, 4, 4, 3)).astype(np.float32)
    target = np.kron(coarse, np.ones((1, side // 4, side // 4, 1), np.float32))
    target = np.clip(target + rng.normal(0, 0.03, target.shape), 0, 1)
    mask = np.zeros((count, side, side, 1), np.float32)
    for i in range(count):
        top, left = rng.integers(0, side // 2, 2)
        mask[i, top : top + side // 3 + i % 3, left : left + side // 3] = 1
    gain = rng.uniform(0.5, 1.3, (count, 1, 1, 3))
    composite = np.clip(target * np.where(mask > 0, gain, 1), 0, 1)
    return {
        "composite": np.round(composite * 255).astype(np.uint8),
        "mask": mask,
        "target": np.round(target * 255).astype(np.uint8),
        "index": np.arange(step * count, (step + 1) * count, dtype=np.int32),
    }

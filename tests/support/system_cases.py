"""A tiny run of every registered system, for the tests of what all systems must guarantee."""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
from support.case import Case
from support.toy_system import toy_config

from jaxharm import registry
from jaxharm.config import (
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    LogConfig,
    OptimConfig,
    TrainConfig,
)
from jaxharm.registry import make_system
from jaxharm.schema import Batch, Pair

SIDE = 64
ROOMS = Path(__file__).resolve().parents[1] / "papers"


def _cases():
    """Every case that a paper's `case.py` lists, and one for each other model that is listed."""
    files = sorted(ROOMS.glob("*/case.py"))
    found = [
        case
        for file in files
        for case in importlib.import_module(f"papers.{file.parent.name}.case").CASES
    ]
    covered = {case.registered for case in found}
    found += [Case(name) for name in registry.list_models() if name not in {*covered, "toy"}]
    return {case.name: case for case in found}


CASES = _cases()


def tiny_config(name, *, batch_size=8, **changes):
    """The tiny run of a case: its objective or the default one, SGD, ten steps."""
    if name == "toy":
        return _small_run(toy_config(), batch_size, 8, 1e-2, changes)
    case = CASES[name]
    entry = registry.get(case.registered)
    objective = case.objective or entry.objective()
    tiny = dataclasses.replace(registry.model_config(case.registered).shrunk(), **case.options)
    config = TrainConfig(system=case.registered, model=tiny, objective=objective())
    return _small_run(config, batch_size, SIDE, case.lr, changes)


def _small_run(config, batch_size, side, lr, changes):
    return dataclasses.replace(
        config,
        **{
            "steps": 10,
            "epochs": None,
            "data": DataConfig(batch_size=batch_size, image_size=side),
            "optim": OptimConfig(name="sgd", lr=lr, b1=0.9),
            "eval": EvalConfig(),
            "checkpoint": CheckpointConfig(every=2),
            "log": LogConfig(every=1, images_every=0, tensorboard=False),
            **changes,
        },
    )


def _distinct(names):
    """Leaves out names whose tiny run is that of an earlier name: presets that tiny() ignores."""
    runs = {}
    for name in names:
        config = tiny_config(name)
        run = dataclasses.replace(config, system="")
        same = (registry.get(config.system).system(), run.model, run.objective)
        runs.setdefault(same, name)
    return list(runs.values())


def tiny_system(name, **changes):
    config = tiny_config(name, **changes)
    return make_system(config, total_steps=config.steps)


def tiny_batch(config, step=0):
    """A batch of smooth images with one blob of changed color each; a function of `step`."""
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
    background = unpaired = None
    if any(case.painting for case in CASES.values() if case.registered == config.system):
        background = _as_bytes(target)
    if getattr(config.objective, "adversarial", None) is not None:
        # Another image's foreground, in its place; the plates are the targets themselves.
        pasted = np.clip(target[::-1] * gain, 0, 1) * mask + target * (1 - mask)
        background = _as_bytes(target)
        other = np.ascontiguousarray(mask[::-1])
        unpaired = Pair(_as_bytes(pasted[::-1]), other, _as_bytes(target[::-1]))
    return Batch(
        composite=_as_bytes(composite),
        mask=mask,
        target=_as_bytes(target),
        background=background,
        unpaired=unpaired,
        index=np.arange(step * count, (step + 1) * count, dtype=np.int32),
    )


def _as_bytes(image):
    return np.round(image * 255).astype(np.uint8)


NAMES = _distinct(CASES)

"""A tiny run of every registered system, for the tests of what all systems must guarantee."""

import dataclasses
import functools
import inspect
import tempfile
from pathlib import Path

import jax
import numpy as np
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
from jaxharm.papers.pih.discriminator import PIHDiscriminatorConfig
from jaxharm.papers.pih.system import AdversarialConfig, PIHObjective
from jaxharm.papers.propih.discriminator import ProPIHDiscriminatorConfig
from jaxharm.registry import make_system
from jaxharm.schema import Batch, Pair
from jaxharm.weights.portable import save_weights

SIDE = 64
# Further runs of registered systems: name of the case -> system, options of its model, objective.
VARIANTS = {
    "pih_light_dual": (
        "pih_light",
        # Not the default, so that an export must carry it; fewer blocks than the plain case.
        {"mask_offset": 0.7, "curve_blocks": (0, 3)},
        PIHObjective(
            recon_weight=0.5,
            # With this share and seed 0 the first four steps take the two streams in turn.
            adversarial=AdversarialConfig(
                recon_ratio=0.9, discriminator=PIHDiscriminatorConfig.tiny()
            ),
        ),
    ),
}


def tiny_config(name, *, batch_size=8, **changes):
    """A run of `name`: tiny model, its objective's defaults (or the variant's), SGD, ten steps."""
    if name == "toy":
        return _small_run(toy_config(), batch_size, 8, 1e-2, changes)
    name, options, variant = VARIANTS.get(name, (name, {}, None))
    entry = registry.get(name)
    model, objective = entry.config(), entry.objective()
    accepted = inspect.signature(model.tiny).parameters
    preset = {key: value for key, value in entry.preset.items() if key in accepted}
    tiny = dataclasses.replace(model.tiny(**preset), **options)
    config = TrainConfig(system=name, model=tiny, objective=variant or objective())
    if name == "propih":
        discriminator = ProPIHDiscriminatorConfig.tiny()
        changed = objective(random_encoder=True, discriminator=discriminator)
        config = dataclasses.replace(config, objective=changed)
    if name == "giftnet":
        changed = dataclasses.replace(config.objective, teacher=str(teacher_weights()))
        config = dataclasses.replace(config, objective=changed)
    # ProPIH's loss is a sum of 28 terms: its gradients are that much larger.
    return _small_run(config, batch_size, SIDE, 0.01 if name == "propih" else 0.1, changes)


@functools.cache
def teacher_weights():
    """A weights folder with a random teacher of tiny GiftNet's width."""
    config = tiny_config("giftnet_teacher")
    system = make_system(config, total_steps=1)
    variables = system.variables(jax.jit(system.init)(jax.random.key(5), tiny_batch(config)))
    holder = tempfile.TemporaryDirectory()
    teacher_weights.holder = holder  # removed with the process
    save_weights(holder.name, config.system, config.model, jax.device_get(variables))
    return Path(holder.name)


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
        config = dataclasses.replace(tiny_config(name), system="")
        runs.setdefault((registry.get(name).system(), config.model), name)
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
    if config.system == "propih":  # its painting; the other models fill a plate or need none
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


NAMES = [
    *_distinct([*(name for name in registry.list_models() if name != "toy"), "giftnet_teacher"]),
    *VARIANTS,
]

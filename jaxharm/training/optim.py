"""Optimizers and learning-rate schedules, from an `OptimConfig`."""

import jax.numpy as jnp
import numpy as np
import optax

from jaxharm.config import OptimConfig
from jaxharm.errors import InputError
from jaxharm.interfaces import Array


def make_schedule(config: OptimConfig, total_steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the optimization step (0 is the first).

    Warm-up multiplies by (step + 1) / warmup_steps until it reaches 1. After it, "cosine" falls
    from lr to final_lr over the rest of the run; "step" multiplies by gamma at each milestone,
    given as a share of the whole run; "linear" falls to final_lr from the last milestone (none: the
    start) to the end; "stairs" falls to lr * (1 - i/(n+1)) at the i-th of n milestones.

    Raises:
        InputError: milestones outside (0, 1).
    """
    if any(not 0 < share < 1 for share in config.milestones):
        raise InputError(
            f"optim.milestones={config.milestones} must be shares of the run, between 0 and 1"
        )
    boundaries = [round(share * total_steps) for share in config.milestones]
    rate: optax.Schedule
    # Optax's own cosine, linear and piecewise schedules round in another order, by up to 1e-5 of the
    # rate: a run that goes on from an older checkpoint would take other steps.
    if config.schedule == "cosine":
        rate = _cosine(config, total_steps)
    elif config.schedule == "linear":
        rate = _linear(config, total_steps)
    elif config.schedule == "stairs":
        rate = _stairs(config.lr, boundaries)
    elif config.schedule == "step":
        rate = _steps(config, boundaries)
    else:
        rate = optax.constant_schedule(config.lr)

    def schedule(step: Array) -> Array:
        step = jnp.asarray(step, jnp.float32)
        lr = jnp.asarray(rate(step), jnp.float32)
        return lr * jnp.minimum(1.0, (step + 1) / max(config.warmup_steps, 1))

    return schedule


def _steps(config: OptimConfig, boundaries: list[int]) -> optax.Schedule:
    factors = np.float32(config.gamma) ** np.arange(len(boundaries) + 1, dtype=np.float32)
    rates = [optax.constant_schedule(rate) for rate in np.float32(config.lr) * factors]
    return optax.join_schedules(rates, boundaries)


def _cosine(config: OptimConfig, total_steps: int) -> optax.Schedule:
    def rate(step: Array) -> Array:
        progress = (step - config.warmup_steps) / max(total_steps - config.warmup_steps, 1)
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1)))
        return config.final_lr + (config.lr - config.final_lr) * cosine

    return rate


def _linear(config: OptimConfig, total_steps: int) -> optax.Schedule:
    start = max(config.milestones, default=0.0) * total_steps

    def rate(step: Array) -> Array:
        lr = jnp.asarray(config.lr, jnp.float32)
        progress = (step - start) / max(total_steps - start, 1)
        return lr + (config.final_lr - lr) * jnp.clip(progress, 0, 1)

    return rate


def _stairs(lr: float, boundaries: list[int]) -> optax.Schedule:
    edges = jnp.asarray(boundaries)

    def rate(step: Array) -> Array:
        passed = jnp.sum(step >= edges)
        return jnp.asarray(lr, jnp.float32) * (1 - passed / (len(boundaries) + 1))

    return rate


def make_optimizer(config: OptimConfig, total_steps: int) -> optax.GradientTransformation:
    """Builds the optimizer of `config`, with its schedule and, where set, gradient clipping.

    `b1` is the momentum of "sgd". Weight decay is decoupled for "adamw" and "lion" and added to
    the gradient for "adam" and "sgd", as in PyTorch.
    """
    schedule = make_schedule(config, total_steps)
    decay = config.weight_decay
    parts = []
    if config.clip_norm is not None:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    # Ahead of the optimizer, so that its moments see the decay, as in PyTorch.
    if config.name in ("adam", "sgd") and decay:
        parts.append(optax.add_decayed_weights(decay))
    if config.name == "lion":
        parts.append(optax.lion(schedule, b1=config.b1, b2=config.b2, weight_decay=decay))
    elif config.name == "adam":
        parts.append(optax.adam(schedule, b1=config.b1, b2=config.b2, eps=config.eps))
    elif config.name == "adamw":
        parts.append(
            optax.adamw(schedule, b1=config.b1, b2=config.b2, eps=config.eps, weight_decay=decay)
        )
    else:
        parts.append(optax.sgd(schedule, momentum=config.b1 or None))
    return optax.chain(*parts)

"""Learns when to stop as a sequence of yes and no: a discrete hazard.

Ours: docs/papers/propih.md, "What we decided".
"""

import jax.numpy as jnp
import optax

from jaxharm.interfaces import Array


def hazard_error(logits: Array, stage: Array) -> Array:
    """Sum over the decisions up to the right one of the binary cross entropy of "stop here".

    Decisions after the right stage are never taken and do not count. The last stage has none: every
    image that reaches it stops there.

    Args:
        logits: f32[decisions,b], positive = stop after that stage.
        stage: i32[b], the right stage, 1 to decisions + 1.

    Returns:
        f32[b].
    """
    numbers = jnp.arange(1, len(logits) + 1)[:, None]
    stop = (numbers == stage[None]).astype(jnp.float32)
    errors = optax.sigmoid_binary_cross_entropy(logits, stop)
    return jnp.sum(jnp.where(numbers <= stage[None], errors, 0.0), 0)


def decide(logits: Array, threshold: float = 0.5) -> Array:
    """The stage i32[b] after which each image stops: the first to reach the threshold.

    Args:
        logits: f32[decisions,b].
        threshold: probability; images that never reach it stop at decisions + 1.
    """
    stop = 1 / (1 + jnp.exp(-logits)) >= threshold
    forced = jnp.ones((1, logits.shape[1]), bool)
    return 1 + jnp.argmax(jnp.concatenate([stop, forced]), 0).astype(jnp.int32)

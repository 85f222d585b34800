"""When to stop, learned as a sequence of yes and no. Source: specs/propih 3.4 (our design)."""

import jax.numpy as jnp
import optax

from jaxharm.interfaces import Array


def hazard_error(logits: Array, stage: Array) -> Array:
    """Sum over the decisions up to the right one of the binary cross entropy "leave here".

    Decisions after the right stage are never taken and do not count. The last stage has none: who
    comes so far leaves.

    Args:
        logits: f32[decisions,b], positive = leave after that stage.
        stage: i32[b], the right stage, 1 to decisions + 1.

    Returns:
        f32[b].
    """
    numbers = jnp.arange(1, len(logits) + 1)[:, None]
    leave = (numbers == stage[None]).astype(jnp.float32)
    errors = optax.sigmoid_binary_cross_entropy(logits, leave)
    return jnp.sum(jnp.where(numbers <= stage[None], errors, 0.0), 0)


def decide(logits: Array, threshold: float = 0.5) -> Array:
    """The stage i32[b] at which each image leaves: the first whose probability is the threshold.

    Args:
        logits: f32[decisions,b].
        threshold: probability; images that never reach it leave at decisions + 1.
    """
    leave = 1 / (1 + jnp.exp(-logits)) >= threshold
    forced = jnp.ones((1, logits.shape[1]), bool)
    return 1 + jnp.argmax(jnp.concatenate([leave, forced]), 0).astype(jnp.int32)

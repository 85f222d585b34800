"""The definition in jax.numpy."""

import jax.numpy as jnp

from jaxharm.interfaces import Array


def moments(x: Array, mask: Array, eps: float) -> tuple[Array, Array]:
    """See `api.masked_moments`."""
    # Two passes: E[x^2] - E[x]^2 would cancel in float32 where the mean is large.
    x, mask = x.astype(jnp.float32), mask.astype(jnp.float32)
    weight = jnp.sum(mask, (1, 2), keepdims=True) + eps
    mean = jnp.sum(x * mask, (1, 2), keepdims=True) / weight
    return mean, deviation(x, mask, mean, weight, eps=eps)


def deviation(x: Array, mask: Array, mean: Array, weight: Array, *, eps: float) -> Array:
    """sqrt(sum ((x-mean)*mask)^2 / weight + eps) over the pixels, f32[b,1,1,c]."""
    square = jnp.square((x - mean) * mask)
    return jnp.sqrt(jnp.sum(square, (1, 2), keepdims=True) / weight + eps)

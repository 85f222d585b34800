"""Maximum pooling whose gradients never divide by zero."""

# Why not autodiff: it compares the input with the result and divides by the number of hits. Where a
# compiler computes the input again with another rounding there may be no hit, and 0/0 gives NaN
# (seen on CPU without optimization). Here nothing is divided by a count that can be zero.

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Array


@jax.custom_vjp
def max_pool(x: Array) -> Array:
    """Maximum of each 2x2 window: f[b,h,w,c] -> f[b,h/2,w/2,c].

    Of tied maxima the first, row by row, gets the gradient.
    """
    a, b, c, d = _quarters(x)
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _max_pool_forward(x: Array) -> tuple[Array, Array]:
    return max_pool(x), x


def _max_pool_backward(x: Array, grad: Array) -> tuple[Array]:
    a, b, c, d = _quarters(x)
    # The winner's number is found by comparing the inputs among each other, never with the result.
    upper = jnp.where(a >= b, 0, 1)
    lower = jnp.where(c >= d, 2, 3)
    winner = jnp.where(jnp.maximum(a, b) >= jnp.maximum(c, d), upper, lower)
    place = jnp.arange(4).reshape(1, 1, 2, 1, 2, 1)
    chosen = winner[:, :, None, :, None] == place
    return (jnp.where(chosen, grad[:, :, None, :, None], 0).reshape(x.shape),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _quarters(x: Array) -> tuple[Array, Array, Array, Array]:
    """The pixels of each 2x2 window, row by row."""
    b, h, w, c = x.shape
    cells = x.reshape(b, h // 2, 2, w // 2, 2, c)
    return cells[:, :, 0, :, 0], cells[:, :, 0, :, 1], cells[:, :, 1, :, 0], cells[:, :, 1, :, 1]


@jax.custom_vjp
def mean_and_max(x: Array) -> Array:
    """Means, then maxima of each channel over the image: f[b,h,w,c] -> f32[b,2c].

    Tied maxima share their gradient.
    """
    wide = x.astype(jnp.float32)
    return jnp.concatenate([jnp.mean(wide, (1, 2)), jnp.max(wide, (1, 2))], -1)


def _mean_and_max_forward(x: Array) -> tuple[Array, tuple[Array, Array]]:
    y = mean_and_max(x)
    return y, (x, y[:, x.shape[-1] :])


def _mean_and_max_backward(saved: tuple[Array, Array], grad: Array) -> tuple[Array]:
    x, highest = saved
    d_mean, d_max = jnp.split(grad[:, None, None], 2, axis=-1)
    hits = x.astype(jnp.float32) == highest[:, None, None]
    # At least 1: where rounding differs, a recomputed x may equal the maximum nowhere.
    count = jnp.maximum(jnp.sum(hits, (1, 2), keepdims=True), 1)
    d_x = d_mean / (x.shape[1] * x.shape[2]) + jnp.where(hits, d_max / count, 0)
    return (d_x.astype(x.dtype),)


mean_and_max.defvjp(_mean_and_max_forward, _mean_and_max_backward)

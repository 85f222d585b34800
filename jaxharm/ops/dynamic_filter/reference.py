"""The definition in jax.numpy: one shifted multiply-add per tap, no tensor of patches."""

import jax.numpy as jnp

from jaxharm.ops.dynamic_filter.border import Border
from jaxharm.types import Array


def forward(x: Array, kernels: Array, border: Border) -> Array:
    """See `api.dynamic_filter`; arguments are checked."""
    b, h, w, c = x.shape
    groups = kernels.shape[3]
    padded = border.pad(x).astype(jnp.float32).reshape(b, *_around(h, w, border), groups, -1)
    total = jnp.zeros((b, h, w, groups, c // groups), jnp.float32)
    for tap, row, column in border.taps():
        window = padded[:, row : row + h, column : column + w]
        total += window * _tap(kernels, tap)
    return total.reshape(x.shape).astype(x.dtype)


def backward(x: Array, kernels: Array, upstream: Array, border: Border) -> tuple[Array, Array]:
    """Gradients of both arguments."""
    b, h, w, c = x.shape
    groups, side = kernels.shape[3], border.side
    g = upstream.astype(jnp.float32).reshape(b, h, w, groups, -1)
    padded = border.pad(x).astype(jnp.float32).reshape(b, *_around(h, w, border), groups, -1)
    d_padded = jnp.zeros(padded.shape, jnp.float32)
    d_taps = []
    for tap, row, column in border.taps():
        window = (slice(None), slice(row, row + h), slice(column, column + w))
        d_taps.append(jnp.sum(g * padded[window], -1))
        around = ((row, 2 * border.reach - row), (column, 2 * border.reach - column))
        d_padded += jnp.pad(g * _tap(kernels, tap), ((0, 0), *around, (0, 0), (0, 0)))
    d_x = border.fold(d_padded.reshape(*padded.shape[:3], c))
    d_kernels = jnp.stack(d_taps, -1).reshape(b, h, w, groups, side, side)
    return d_x.astype(x.dtype), d_kernels.astype(kernels.dtype)


def _around(height: int, width: int, border: Border) -> tuple[int, int]:
    return height + 2 * border.reach, width + 2 * border.reach


def _tap(kernels: Array, tap: int) -> Array:
    """f32[b,h,w,g,1]: one weight of every kernel."""
    side = kernels.shape[-1]
    return kernels[..., tap // side, tap % side, None].astype(jnp.float32)

"""Sums over the patches of a grid, and maps that are constant on each patch.

A side of n pixels is cut into g patches of floor(n/g); the last one also takes the remainder. Sums
are products with constant 0/1 membership matrices.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxharm.interfaces import Array

# The default precision of TPUs and recent GPUs would round the statistics to bfloat16 or TF32.
_HIGHEST = lax.Precision.HIGHEST


def indices(size: int, grid: int) -> np.ndarray:
    """The patch that each row (or column) belongs to, i32[size]."""
    return np.minimum(np.arange(size) // max(size // grid, 1), grid - 1).astype(np.int32)


def membership(size: int, grid: int) -> np.ndarray:
    """A matrix f32[size,grid]: 1 where the row (or column) belongs to the patch."""
    return (indices(size, grid)[:, None] == np.arange(grid)).astype(np.float32)


def counts(height: int, width: int, grid: int) -> np.ndarray:
    """Number of pixels of each patch, f32[1,g,g,1]."""
    rows, columns = membership(height, grid).sum(0), membership(width, grid).sum(0)
    return (rows[:, None] * columns)[None, :, :, None]


def patch_sums(x: Array, grid: int) -> Array:
    """The sum over each patch: f32[b,h,w,c] -> f32[b,g,g,c]."""
    columns = jnp.asarray(membership(x.shape[2], grid))
    sums = jnp.einsum("wk,bhwc->bhkc", columns, x, precision=_HIGHEST)
    return row_sums(sums, grid)


def weighted_patch_sums(x: Array, weights: Array, grid: int) -> tuple[Array, Array]:
    """Patch sums of x*weights and image sums of x*(1-weights), reading x once.

    Args:
        x: f32[b,h,w,c].
        weights: f32[b,h,w,1].

    Returns:
        f32[b,g,g,c] and f32[b,1,1,c].
    """
    # The small membership matrix is weighted per pixel instead of the large x, with one more
    # column for the complement, so that x is read once and not copied.
    columns = jnp.asarray(membership(x.shape[2], grid))[None, None]
    selectors = jnp.concatenate([weights * columns, 1 - weights], axis=-1)
    sums = jnp.einsum("bhwk,bhwc->bhkc", selectors, x, precision=_HIGHEST)
    return row_sums(sums[:, :, :grid], grid), jnp.sum(sums[:, :, grid:], 1, keepdims=True)


def row_sums(x: Array, grid: int) -> Array:
    """The sum over each patch's rows: f32[b,h,k,c] -> f32[b,g,k,c]."""
    rows = jnp.asarray(membership(x.shape[1], grid))
    return jnp.einsum("hg,bhkc->bgkc", rows, x, precision=_HIGHEST)


def spread(values: Array, height: int, width: int) -> Array:
    """Gives every pixel its patch's value: f32[b,g,g,c] -> f32[b,h,w,c]."""
    grid = values.shape[1]
    return values[:, indices(height, grid)][:, :, indices(width, grid)]

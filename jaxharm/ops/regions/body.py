"""The arithmetic on one tile that all kernels share, in float32.

Masks and coefficients broadcast against the tile. `fma` computes a*b + c; a lowering that does not
fuse the two by itself gives its own.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from jaxharm.interfaces import Array

# Rows of the table of coefficients per image and channel that `gradient` reads; `blend` reads the
# first six, `centered_gradient` three.
BLEND_ROWS = 6
GRADIENT_ROWS = 10


MultiplyAdd = Callable[[Array | float, Array | float, Array | float], Array]


def multiply_add(a: Array | float, b: Array | float, c: Array | float) -> Array:
    """a*b + c, to be fused by the compiler or not."""
    return jnp.asarray(a * b + c)


class Region(NamedTuple):
    """The map of a region, (x - center) * scale + shift, and the gradient through its moments.

    That gradient is, per unit of the mask, `mean` + `square` * (x - center) * mask.
    """

    center: Array
    scale: Array
    shift: Array
    mean: Array | float = 0.0
    square: Array | float = 0.0

    def map(self, x: Array, fma: MultiplyAdd) -> Array:
        """The region's affine map."""
        # Centering first: x * scale + shift would lose the digits where a large scale cancels.
        return fma(x - self.center, self.scale, self.shift)


def table(fg: Region, bg: Region) -> Array:
    """One array f32[b,10,c] of all coefficients f32[b,1,1,c] (or broadcasting to that)."""
    rows: list[Array | float] = [fg.center, fg.scale, fg.shift, bg.center, bg.scale, bg.shift]
    rows += [fg.mean, fg.square, bg.mean, bg.square]
    shape = jnp.broadcast_shapes(*(jnp.shape(row) for row in rows))
    return jnp.concatenate([jnp.broadcast_to(row, shape) for row in rows], 1)[:, :, 0]


def regions(rows: list[Array]) -> tuple[Region, Region]:
    """Foreground and background from rows of `table`."""
    terms: Sequence[Array | float] = rows[6:] or [0.0] * 4
    return Region(*rows[:3], *terms[:2]), Region(*rows[3:6], *terms[2:])


def blend(
    x: Array, mask: Array, fg: Region, bg: Region, *, fma: MultiplyAdd = multiply_add
) -> Array:
    """The foreground's map where the mask is 1, the background's where it is 0."""
    return fma(fg.map(x, fma), mask, bg.map(x, fma) * (1 - mask))


def gradient(
    g: Array,
    x: Array,
    mask: Array,
    fg: Region,
    bg: Region,
    patch: Array | float,
    *,
    fma: MultiplyAdd = multiply_add,
) -> tuple[Array, Array]:
    """Gradients of `blend` with respect to x and, before the sum over channels, the mask.

    They include the gradient through the moments of both regions. Only the part of the mask's
    gradient that is the same for all pixels is left out. `patch` adds to the background's `mean`.
    """
    rest = 1 - mask
    fg_dev, bg_dev = x - fg.center, x - bg.center
    fg_term = fma(fg.square * fg_dev, mask, fg.mean)
    bg_term = fma(bg.square * bg_dev, rest, bg.mean + patch)
    d_x = fma(mask, fma(fg.scale, g, fg_term), rest * fma(bg.scale, g, bg_term))
    maps = fma(fg_dev, fg.scale, fg.shift) - fma(bg_dev, bg.scale, bg.shift)
    return d_x, fma(-bg_dev, bg_term, fma(g, maps, fg_dev * fg_term))


def centered_gradient(
    x: Array,
    mask: Array | float,
    center: Array,
    mean: Array,
    square: Array,
    *,
    fma: MultiplyAdd = multiply_add,
) -> tuple[Array, Array]:
    """The gradient through the moments of one region alone, as in `gradient`."""
    dev = x - center
    term = fma(square * dev, mask, mean)
    return mask * term, dev * term

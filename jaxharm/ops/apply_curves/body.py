"""The arithmetic on a block of one channel that the kernels of both platforms share, in float32.

All arguments are blocks of one shape. The formulas are those of `reference`. How a curve is looked
up differs by platform and is not here.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxharm.interfaces import Array


class Blend(NamedTuple):
    """Blocks of the mask and of one background channel; `shading` may be None."""

    mask: Array
    background: Array
    shading: Array | None


class BlendGradients(NamedTuple):
    """One channel's gradients with respect to the curved value, mask, background and shading."""

    curved: Array
    mask: Array
    background: Array
    shading: Array | None


def position(x: Array, knots: int) -> Array:
    """The place of a pixel's value among the knots, in [0, knots-1]; NaN stays NaN."""
    return jnp.clip(knots * x - 0.5, 0.0, knots - 1.0)


def slope(t: Array, rise: Array, knots: int) -> Array:
    """Derivative of the curve at the pixel's value: zero on the flat ends."""
    return jnp.where((t > 0) & (t < knots - 1), knots * rise, 0.0)


def hat(t: Array, knot: Array) -> Array:
    """Weight of a knot at position t; the weights of all knots sum to one."""
    return jnp.maximum(1.0 - jnp.abs(t - knot), 0.0)


def render(curved: Array, blend: Blend) -> Array:
    """The result where there is a mask."""
    m, bg, s = blend.mask, blend.background, blend.shading
    result = curved * m + (1 - m) * bg
    return result if s is None else result * s * m + (1 - m) * bg


def blend_gradients(g: Array, curved: Array, blend: Blend) -> BlendGradients:
    """Gradients of `render`, given that of the result."""
    m, bg, s = blend.mask, blend.background, blend.shading
    if s is None:
        return BlendGradients(
            curved=g * m, mask=g * (curved - bg), background=g * (1 - m), shading=None
        )
    blended = curved * m + (1 - m) * bg
    inner = g * s * m
    return BlendGradients(
        curved=inner * m,
        mask=g * (blended * s - bg) + inner * (curved - bg),
        background=g * (1 - m) + inner * (1 - m),
        shading=g * blended * m,
    )

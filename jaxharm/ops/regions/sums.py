"""Means and deviations from the sums that the kernels write, without cancellation.

A part is some pixels of one patch. With weights m (the mask, or one minus it) a kernel sums m*(x-a),
m^2*(x-a) and m^2*(x-a)^2 around a center a of its own, the part's mean.
"""
# Here the parts are moved to the common mean. That is exact algebra whose terms are all as small as
# the result, so it is as accurate as two passes over the image (the combination of Chan, Golub and
# LeVeque, for squared weights).

from typing import NamedTuple

import jax.numpy as jnp

from jaxharm.interfaces import Array


class Parts(NamedTuple):
    """Sums of parts: f32[b,n,p,r,c] for n parts of p patches in row-major order and r regions.

    Weights may have c = 1. A part without pixels has weight 0.
    """

    weight: Array  # sum m
    square_weight: Array  # sum m^2
    center: Array  # a
    first: Array  # sum m (x-a)
    cross: Array  # sum m^2 (x-a)
    square: Array  # sum m^2 (x-a)^2

    def region(self, index: int) -> "Parts":
        """One region alone, f32[b,n,p,1,c]."""
        return Parts(*(a[:, :, :, index : index + 1] for a in self))


class Moments(NamedTuple):
    """Moments of one region: f32[b,1,1,c] each, `weight` f32[b,1,1,1 or c]."""

    mean: Array
    std: Array
    cross: Array  # sum m^2 (x - mean): not zero for a soft mask
    weight: Array  # sum m + eps


def moments(parts: Parts, eps: float) -> Moments:
    """Mean and deviation of one region over the whole image; see `ops.masked_moments`."""
    mean, weight = _mean(parts, (1, 2), eps)
    offset = parts.center - mean
    cross = parts.cross + parts.square_weight * offset
    square = parts.square + (parts.cross + cross) * offset
    total = jnp.sum(square, (1, 2), keepdims=True)
    found = Moments(
        mean,
        jnp.sqrt(total / weight + eps),
        jnp.sum(cross, (1, 2), keepdims=True),
        weight,
    )
    return Moments(*(a[:, 0] for a in found))


def patch_means(parts: Parts, grid: int, eps: float) -> tuple[Array, Array]:
    """Means of one region in each patch, f32[b,g,g,c], and weights + eps."""
    mean, weight = _mean(parts, (1,), eps)
    shape = (len(mean), grid, grid, -1)
    return mean.reshape(shape), weight.reshape(shape)


def moment_gradients(
    found: Moments, d_mean: Array, d_std: Array, eps: float
) -> tuple[Array, Array, Array]:
    """From the gradients of a region's moments to the coefficients of its pixels' gradients.

    With dev = x - mean, the gradient for x is m*(mean + square*dev*m), and that for m is the sum
    over the channels of dev*(mean + square*dev*m), plus `constant`.

    Returns:
        mean and square, f32[b,1,1,c]; constant, f32[b,1,1,1].
    """
    square = d_std / (found.std * found.weight)
    mean = (d_mean - square * found.cross) / found.weight
    variance = found.std * found.std - eps
    return mean, square, -jnp.sum(square * variance, -1, keepdims=True) / 2


def _mean(parts: Parts, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    def total(value: Array) -> Array:
        return jnp.sum(value, axes, keepdims=True)

    weight = total(parts.weight) + eps
    rough = total(parts.weight * parts.center) / weight
    # A sum of large values loses digits; what is left after centering is summed again.
    rest = total(parts.weight * (parts.center - rough) + parts.first)
    return rough + (rest - eps * rough) / weight, weight

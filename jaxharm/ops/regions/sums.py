"""Means and deviations from the sums that the kernels write, without cancellation.

A part is some pixels of one patch. With weights m (the mask, or what is left of one) a kernel sums
m*(x-a), m^2*(x-a) and m^2*(x-a)^2 around a center a of its own, the part's mean. Here the parts are
moved to the common mean, which is exact algebra whose terms are all as small as the result: as
accurate as two passes over the image (the combination of Chan, Golub and LeVeque, for weights that
enter squared).
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxharm.interfaces import Array


class Parts(NamedTuple):
    """f32[b,n,p,r,c], n parts of p patches in row-major order, r regions; weights may have c = 1.
    A part without pixels has weight 0.
    """

    weight: Array  # sum m
    square_weight: Array  # sum m^2
    center: Array  # a
    first: Array  # sum m (x-a)
    lean: Array  # sum m^2 (x-a)
    square: Array  # sum m^2 (x-a)^2

    def region(self, index: int) -> "Parts":
        """One region alone, f32[b,n,p,1,c]."""
        return Parts(*(a[:, :, :, index : index + 1] for a in self))


class Moments(NamedTuple):
    """f32[b,1,1,c] each, `weight` f32[b,1,1,1 or c]."""

    mean: Array
    std: Array
    lean: Array  # sum m^2 (x - mean): not zero for a soft mask
    weight: Array  # sum m + eps


def moments(parts: Parts, eps: float) -> Moments:
    """Of one region over the whole image; see `ops.masked_moments`."""
    mean, weight = _mean(parts, (1, 2), eps)
    offset = parts.center - mean
    lean = parts.lean + parts.square_weight * offset
    square = parts.square + (parts.lean + lean) * offset
    total = jnp.sum(square, (1, 2), keepdims=True)
    found = Moments(
        mean,
        jnp.sqrt(total / weight + eps),
        jnp.sum(lean, (1, 2), keepdims=True),
        weight,
    )
    return Moments(*(a[:, 0] for a in found))


def patch_means(parts: Parts, grid: int, eps: float) -> tuple[Array, Array]:
    """Means of one region in each patch, f32[b,g,g,c], and weights + eps."""
    mean, weight = _mean(parts, (1,), eps)
    return tuple(a.reshape(len(a), grid, grid, a.shape[-1]) for a in (mean, weight))  # type: ignore[return-value]


def pull(found: Moments, d_mean: Array, d_std: Array, eps: float) -> tuple[Array, Array, Array]:
    """What gradients towards a region's moments pass on to its pixels.

    With dev = x - mean, the gradient towards x is m*(mean + square*dev*m), and the one towards m
    the sum over the channels of dev*(mean + square*dev*m), plus `constant`.

    Returns:
        mean and square, f32[b,1,1,c]; constant, f32[b,1,1,1].
    """
    square = d_std / (found.std * found.weight)
    mean = (d_mean - square * found.lean) / found.weight
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

"""Patch normalization by kernels: one pass for all statistics, one that writes."""
# x is read twice and written once; the backward reads x and the upstream gradient twice and writes
# once. Only numbers per image and channel are computed between the passes, as in the reference.

from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.ops import patches
from jaxharm.ops.patch_norm.reference import Coefficients, Statistics, coefficients
from jaxharm.ops.regions import body
from jaxharm.ops.regions.body import Region
from jaxharm.ops.regions.sums import Moments, moment_gradients, moments, patch_means


class Found(NamedTuple):
    """Moments of both regions; background means f32[b,g,g,c] and weights + eps of the patches."""

    fg: Moments
    bg: Moments
    patch_mean: Array
    patch_weight: Array

    @property
    def statistics(self) -> Statistics:
        return Statistics(self.fg.mean, self.fg.std, self.bg.mean, self.bg.std, self.patch_mean)


def forward(
    kernels: ModuleType,
    x: Array,
    mask: Array,
    params: Mapping[str, Array],
    grid: int,
    eps: float,
    *,
    interpret: bool = False,
) -> tuple[Array, Found]:
    """The result, in the dtype of `x`, and the statistics that `backward` reuses.

    Args:
        kernels: `regions.pallas_tpu` or `regions.pallas_triton`.
    """
    parts = kernels.sums(x, mask, grid, regions=2, interpret=interpret)
    fg, bg = parts.region(0), parts.region(1)
    found = Found(moments(fg, eps), moments(bg, eps), *patch_means(bg, grid, eps))
    table = body.table(*_regions(found, coefficients(found.statistics, params)))
    return kernels.blend(x, mask, table, interpret=interpret), found


def backward(
    kernels: ModuleType,
    x: Array,
    mask: Array,
    params: Mapping[str, Array],
    found: Found,
    grad: Array,
    grid: int,
    eps: float,
    *,
    interpret: bool = False,
) -> tuple[Array, Array, dict[str, Array]]:
    """Gradients with respect to x, mask and the parameters, given that of the result."""
    coeffs, pullback = jax.vjp(coefficients, found.statistics, dict(params))
    fg, bg = _regions(found, coeffs)
    centers = (fg.center, bg.center)
    totals = kernels.gradient_sums(grad, x, mask, centers, interpret=interpret)
    d_fg, d_fg_scale, d_bg, d_bg_scale = (totals[:, None, None, k] for k in range(4))
    # The statistics have two gradients: through the coefficients, and through the centering.
    d_stats, d_params = pullback(
        Coefficients(d_fg_scale, d_fg, d_bg_scale, jnp.sum(d_bg, 0, keepdims=True))
    )
    fg_mean, fg_square, fg_constant = moment_gradients(
        found.fg, d_stats.fg_mean - coeffs.fg_scale * d_fg, d_stats.fg_std, eps
    )
    bg_mean, bg_square, bg_constant = moment_gradients(
        found.bg, d_stats.bg_mean - coeffs.bg_scale * d_bg, d_stats.bg_std, eps
    )
    patch = d_stats.patch_mean / found.patch_weight
    table = body.table(
        fg._replace(mean=fg_mean, square=fg_square), bg._replace(mean=bg_mean, square=bg_square)
    )
    d_x, d_mask = kernels.gradient(grad, x, mask, table, patch, interpret=interpret)
    constant = fg_constant - bg_constant
    constant += jnp.sum(patch * (found.patch_mean - found.bg.mean), -1, keepdims=True)
    d_mask += patches.spread(constant, *x.shape[1:3])
    return d_x, d_mask.astype(mask.dtype), d_params


def _regions(found: Found, c: Coefficients) -> tuple[Region, Region]:
    return (
        Region(found.fg.mean, c.fg_scale, c.fg_shift),
        Region(found.bg.mean, c.bg_scale, c.bg_shift),
    )

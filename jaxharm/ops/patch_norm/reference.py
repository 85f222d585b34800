"""The definition in jax.numpy: statistics, coefficients, one multiply-add per region.

With fg = (x - fg_mean) * fg_scale + fg_shift and bg likewise, the result is fg*m + bg*(1-m).
"""
# The scales and shifts are per image and channel, so that the image is read three times (sums,
# squared deviations, result) and written once. The backward reads x and the gradient twice.

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.ops import patches
from jaxharm.ops.masked_moments.reference import deviation


class Statistics(NamedTuple):
    """f32[b,1,1,c] each, `patch_mean` f32[b,g,g,c]: moments of both regions and patch means."""

    fg_mean: Array
    fg_std: Array
    bg_mean: Array
    bg_std: Array
    patch_mean: Array


class Weights(NamedTuple):
    """Sums of the region masks plus eps: f32[b,1,1,1], `patch` f32[b,g,g,1]."""

    fg: Array
    bg: Array
    patch: Array


class Coefficients(NamedTuple):
    """f32[b,1,1,c] each: the multiply-add of each region."""

    fg_scale: Array
    fg_shift: Array
    bg_scale: Array
    bg_shift: Array


def forward(
    x: Array, mask: Array, params: Mapping[str, Array], grid: int, eps: float
) -> tuple[Array, Statistics]:
    """The result, in the dtype of `x`, and the statistics that `backward` reuses."""
    dtype, x, mask = x.dtype, x.astype(jnp.float32), mask.astype(jnp.float32)
    statistics = _statistics(x, mask, grid, eps)
    fg, bg = _regions(x, statistics, coefficients(statistics, params))
    return (fg * mask + bg * (1 - mask)).astype(dtype), statistics


def coefficients(statistics: Statistics, params: Mapping[str, Array]) -> Coefficients:
    """Scales and shifts from statistics and parameters: G, P and B of `api.patch_norm`."""
    s = statistics
    p = {
        name: value.astype(jnp.float32).reshape((1,) * (4 - value.ndim) + value.shape)
        for name, value in params.items()
    }
    mix = p["weights"]
    whole, patched = mix[..., :1], mix[..., 1:]
    patch_mean = jnp.sum(p["grid_weights"] * s.patch_mean, (1, 2), keepdims=True)
    gain = s.bg_std / s.fg_std
    return Coefficients(
        fg_scale=gain * (whole * p["fg_var"] + patched * p["patched_fg_var"]),
        fg_shift=whole * (s.bg_mean * p["fg_var"] + p["fg_bias"])
        + patched * (patch_mean * p["patched_fg_var"] + p["patched_fg_bias"]),
        bg_scale=p["bg_var"] / s.bg_std,
        bg_shift=p["bg_bias"],
    )


def backward(
    x: Array,
    mask: Array,
    params: Mapping[str, Array],
    statistics: Statistics,
    grad: Array,
    grid: int,
    eps: float,
) -> tuple[Array, Array, dict[str, Array]]:
    """Gradients with respect to x, mask and the parameters, given that of the result."""
    dtypes = x.dtype, mask.dtype
    x, mask, grad = (a.astype(jnp.float32) for a in (x, mask, grad))
    height, width = x.shape[1:3]
    rest = 1 - mask
    weights = _weights(mask, grid, eps)
    # Only the few numbers per image and channel are left to autodiff; what has the size of the
    # image is written out, so that nothing but x, the mask and the statistics is kept.
    coeffs, pullback = jax.vjp(coefficients, statistics, dict(params))
    fg_dev, bg_dev = x - statistics.fg_mean, x - statistics.bg_mean

    def total(value: Array) -> Array:
        return jnp.sum(value, (1, 2), keepdims=True)

    d_fg_shift, d_bg_shift = total(grad * mask), total(grad * rest)
    d_coeffs = Coefficients(
        fg_scale=total(grad * mask * fg_dev),
        fg_shift=d_fg_shift,
        bg_scale=total(grad * rest * bg_dev),
        bg_shift=jnp.sum(d_bg_shift, 0, keepdims=True),
    )
    d_stats, d_params = pullback(d_coeffs)
    # Each region's squared deviation has the gradient d_std / (2 std weight), and depends on the
    # mean by -2 sum(dev m^2), which is not 0 for a soft mask.
    fg_square = d_stats.fg_std / (statistics.fg_std * weights.fg)
    bg_square = d_stats.bg_std / (statistics.bg_std * weights.bg)
    d_fg_mean = d_stats.fg_mean - coeffs.fg_scale * d_fg_shift
    d_fg_mean -= fg_square * total(fg_dev * mask * mask)
    d_bg_mean = d_stats.bg_mean - coeffs.bg_scale * d_bg_shift
    d_bg_mean -= bg_square * total(bg_dev * rest * rest)
    fg_mean_term = d_fg_mean / weights.fg
    bg_mean_term = patches.spread(
        d_stats.patch_mean / weights.patch + d_bg_mean / weights.bg, height, width
    )
    dx = mask * (coeffs.fg_scale * grad + fg_mean_term + fg_square * fg_dev * mask)
    dx += rest * (coeffs.bg_scale * grad + bg_mean_term + bg_square * bg_dev * rest)

    def through_weights(mean_term: Array, square: Array, dev: Array, m: Array, var: Array) -> Array:
        return mean_term * dev + square * (dev * dev * m - var / 2)

    fg, bg = _regions(x, statistics, coeffs)
    patch_term = d_stats.patch_mean / weights.patch
    patch_part = patches.spread(patch_term, height, width) * x - patches.spread(
        patch_term * statistics.patch_mean, height, width
    )
    d_mask = grad * (fg - bg) - patch_part
    d_mask += through_weights(fg_mean_term, fg_square, fg_dev, mask, statistics.fg_std**2 - eps)
    d_mask -= through_weights(
        d_bg_mean / weights.bg, bg_square, bg_dev, rest, statistics.bg_std**2 - eps
    )
    d_mask = jnp.sum(d_mask, -1, keepdims=True)
    return dx.astype(dtypes[0]), d_mask.astype(dtypes[1]), d_params


def _regions(x: Array, s: Statistics, c: Coefficients) -> tuple[Array, Array]:
    """The normalized foreground and background."""
    # Centering first: x * scale + shift would lose the digits where a large scale cancels.
    return (
        (x - s.fg_mean) * c.fg_scale + c.fg_shift,
        (x - s.bg_mean) * c.bg_scale + c.bg_shift,
    )


def _weights(mask: Array, grid: int, eps: float) -> Weights:
    patch = patches.patch_sums(1 - mask, grid)
    return Weights(
        fg=jnp.sum(mask, (1, 2), keepdims=True) + eps,
        bg=jnp.sum(1 - mask, (1, 2), keepdims=True) + eps,
        patch=patch + eps,
    )


def _statistics(x: Array, mask: Array, grid: int, eps: float) -> Statistics:
    weights = _weights(mask, grid, eps)
    patch_sum, fg_sum = patches.weighted_patch_sums(x, 1 - mask, grid)
    fg_mean = fg_sum / weights.fg
    bg_mean = jnp.sum(patch_sum, (1, 2), keepdims=True) / weights.bg
    return Statistics(
        fg_mean=fg_mean,
        fg_std=deviation(x, mask, fg_mean, weights.fg, eps=eps),
        bg_mean=bg_mean,
        bg_std=deviation(x, 1 - mask, bg_mean, weights.bg, eps=eps),
        patch_mean=patch_sum / weights.patch,
    )

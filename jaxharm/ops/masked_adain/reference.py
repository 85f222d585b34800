"""The definition in jax.numpy: statistics, one multiply-add per image and channel, the blend."""
# The content is read four times (sum, sum after centering, squared deviations, result) and written
# once, the style is read three times. The backward reads content, style and gradient twice.

from typing import NamedTuple

import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.ops.masked_moments.reference import deviation


class Statistics(NamedTuple):
    """f32[b,1,1,c] each: moments of the content under its mask and of the style under its own."""

    mean: Array
    std: Array
    style_mean: Array
    style_std: Array


def forward(
    content: Array, style: Array, mask: Array, style_mask: Array | None, eps: float
) -> tuple[Array, Statistics]:
    """The result, in the dtype of `content`, and the statistics that `backward` reuses."""
    dtype = content.dtype
    content, style, mask, style_mask = _wide(content, style, mask, style_mask)
    statistics = Statistics(*_moments(content, mask, eps), *_moments(style, style_mask, eps))
    # Where the mask is 0 the second term alone is left: the content, bit for bit.
    result = _restyled(content, statistics) * mask + content * (1 - mask)
    return result.astype(dtype), statistics


def backward(
    content: Array,
    style: Array,
    mask: Array,
    style_mask: Array | None,
    statistics: Statistics,
    grad: Array,
    eps: float,
) -> tuple[Array, Array, Array, Array | None]:
    """Gradients with respect to content, style, mask and style mask, given that of the result."""
    x, y, m, region = _wide(content, style, mask, style_mask)
    grad, s = grad.astype(jnp.float32), statistics
    weight, style_weight = (jnp.sum(a, (1, 2), keepdims=True) + eps for a in (m, region))
    dev, style_dev = x - s.mean, y - s.style_mean
    gain = s.style_std / s.std

    d_shift = jnp.sum(grad * m, (1, 2), keepdims=True)
    d_gain = jnp.sum(grad * m * dev, (1, 2), keepdims=True)
    d_content, d_mask = _through_moments(
        dev, m, weight, s.std, -gain * d_shift, -gain * d_gain / s.std, eps
    )
    d_style, d_style_mask = _through_moments(
        style_dev, region, style_weight, s.style_std, d_shift, d_gain / s.std, eps
    )
    d_content += grad * (m * gain + (1 - m))
    d_mask += jnp.sum(grad * (_restyled(x, s) - x), -1, keepdims=True)
    return (
        d_content.astype(content.dtype),
        d_style.astype(style.dtype),
        d_mask.astype(mask.dtype),
        None if style_mask is None else d_style_mask.astype(style_mask.dtype),
    )


def _wide(
    content: Array, style: Array, mask: Array, style_mask: Array | None
) -> tuple[Array, Array, Array, Array]:
    """The four arrays in float32; no style mask is one of ones."""
    region = jnp.ones_like(mask) if style_mask is None else style_mask
    wide = jnp.float32
    return content.astype(wide), style.astype(wide), mask.astype(wide), region.astype(wide)


def _moments(x: Array, mask: Array, eps: float) -> tuple[Array, Array]:
    weight = jnp.sum(mask, (1, 2), keepdims=True) + eps
    rough = jnp.sum(x * mask, (1, 2), keepdims=True) / weight
    # A nearly constant region is divided by sqrt(eps), which would enlarge the rounding of a sum
    # over many pixels. So the remainder after centering is summed again; sum(m) = weight - eps.
    rest = jnp.sum((x - rough) * mask, (1, 2), keepdims=True)
    mean = rough + (rest - eps * rough) / weight
    return mean, deviation(x, mask, mean, weight, eps=eps)


def _restyled(content: Array, s: Statistics) -> Array:
    """The content with the style's moments. Centering first keeps the digits of a large gain."""
    return (content - s.mean) * (s.style_std / s.std) + s.style_mean


def _through_moments(
    dev: Array,
    mask: Array,
    weight: Array,
    std: Array,
    d_mean: Array,
    d_std: Array,
    eps: float,
) -> tuple[Array, Array]:
    """Gradients with respect to x and its mask, given those of its mean and standard deviation."""
    # The squared deviation depends on the mean by -2 sum(dev m^2), which is not 0 for a soft mask.
    square = d_std / (std * weight)
    d_mean = d_mean - square * jnp.sum(dev * mask * mask, (1, 2), keepdims=True)
    mean_term = d_mean / weight
    d_x = mask * (mean_term + square * dev * mask)
    d_mask = mean_term * dev + square * (dev * dev * mask - (std * std - eps) / 2)
    return d_x, jnp.sum(d_mask, -1, keepdims=True)

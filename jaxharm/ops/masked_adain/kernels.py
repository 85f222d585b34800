"""Masked AdaIN by kernels: one pass over content and style for the moments, one that writes."""
# Memory traffic is what counts here: the content is read twice and written once, the style is read
# once. The backward reads content and upstream gradient twice and the style once.

from types import ModuleType
from typing import NamedTuple

import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.ops.regions import body
from jaxharm.ops.regions.body import Region
from jaxharm.ops.regions.sums import Moments, moment_gradients, moments


class Statistics(NamedTuple):
    """Moments of the content under its mask and of the style under its own."""

    content: Moments
    style: Moments


def forward(
    kernels: ModuleType,
    content: Array,
    style: Array,
    mask: Array,
    style_mask: Array | None,
    eps: float,
    *,
    interpret: bool = False,
) -> tuple[Array, Statistics]:
    """The result, in the dtype of `content`, and the statistics that `backward` reuses.

    Args:
        kernels: `regions.pallas_tpu` or `regions.pallas_triton`.
    """
    found = Statistics(
        *(
            moments(kernels.sums(x, region, 1, regions=1, interpret=interpret), eps)
            for x, region in ((content, mask), (style, style_mask))
        )
    )
    table = body.table(*_regions(found))
    return kernels.blend(content, mask, table, interpret=interpret), found


def backward(
    kernels: ModuleType,
    content: Array,
    style: Array,
    mask: Array,
    style_mask: Array | None,
    found: Statistics,
    grad: Array,
    eps: float,
    *,
    interpret: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """Gradients with respect to content, style, mask and style mask, given that of the result."""
    fg, bg = _regions(found)
    totals = kernels.gradient_sums(grad, content, mask, (fg.center,), interpret=interpret)
    d_shift, d_gain = totals[:, None, None, 0], totals[:, None, None, 1]
    mean, square, constant = moment_gradients(
        found.content, -fg.scale * d_shift, -fg.scale * d_gain / found.content.std, eps
    )
    table = body.table(fg._replace(mean=mean, square=square), bg)
    d_content, d_mask = kernels.gradient(grad, content, mask, table, interpret=interpret)
    mean, square, style_constant = moment_gradients(
        found.style, d_shift, d_gain / found.content.std, eps
    )
    d_style, d_style_mask = kernels.centered_gradient(
        style, style_mask, (found.style.mean, mean, square), interpret=interpret
    )
    if style_mask is not None:
        d_style_mask = (d_style_mask + style_constant).astype(style_mask.dtype)
    return d_content, d_style, (d_mask + constant).astype(mask.dtype), d_style_mask


def _regions(found: Statistics) -> tuple[Region, Region]:
    """The maps of both regions: restyled inside the mask, the content as it is outside."""
    content, style = found
    zero = jnp.zeros_like(content.mean)
    return (
        Region(content.mean, style.std / content.std, style.mean, zero, zero),
        Region(zero, zero + 1, zero, zero, zero),
    )

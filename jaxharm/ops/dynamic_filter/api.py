"""The public function: checks, choice of implementation, differentiation rule."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from jaxharm.errors import InputError
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import Implementation
from jaxharm.ops.dynamic_filter.border import Border
from jaxharm.types import Array

_OFFERED = {
    "reference": Implementation("jaxharm.ops.dynamic_filter.reference"),
    "pallas_tpu": Implementation("jaxharm.ops.dynamic_filter.pallas_tpu"),
    "pallas_gpu": Implementation("jaxharm.ops.dynamic_filter.pallas_triton"),
    "pallas_interpret": Implementation("jaxharm.ops.dynamic_filter.pallas_tpu", interpret=True),
}


def dynamic_filter(
    x: Array,
    kernels: Array,
    *,
    dilation: int = 1,
    padding: Literal["zero", "reflect"] = "zero",
    implementation: str | None = None,
) -> Array:
    """Correlates every pixel's neighbourhood with that pixel's own kernel.

    With K the kernels' side, r = (K-1)/2 and group(c) = floor(c / (channels/groups)):

        y[n,i,j,c] = sum_{u,v < K} kernels[n,i,j,group(c),u,v] * x[n, i+(u-r)*dilation,
                                                                      j+(v-r)*dilation, c]

    Outside the image x is 0, or is mirrored without repeating the border ("reflect"). Both
    arguments have gradients.

    Args:
        x: f[b,h,w,c].
        kernels: f[b,h,w,g,K,K], K odd, c a multiple of g; not flipped.
        dilation: distance of the kernel's taps in pixels.
        padding: what lies outside the image.
        implementation: see `jaxharm.ops.dispatch`.

    Returns:
        f[b,h,w,c] in the dtype of `x`; sums are float32.

    Raises:
        InputError: a shape that does not fit, an unknown padding, a mirror longer than the image,
            or an implementation that does not exist.

    Source: GKNet (arXiv 2305.11676), specs/gknet 7.
    """
    x, kernels = jnp.asarray(x), jnp.asarray(kernels)
    border = _border(x, kernels, dilation, padding)
    chosen = dispatch.choose("dynamic_filter", implementation, _OFFERED, x, kernels, border)
    return _apply(chosen, border, x, kernels)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _apply(chosen: Implementation, border: Border, x: Array, kernels: Array) -> Array:
    return chosen.call("forward", x, kernels, border)


def _apply_forward(
    chosen: Implementation, border: Border, x: Array, kernels: Array
) -> tuple[Array, tuple[Array, Array]]:
    return chosen.call("forward", x, kernels, border), (x, kernels)


def _apply_backward(
    chosen: Implementation, border: Border, arguments: tuple[Array, Array], upstream: Array
) -> tuple[Array, Array]:
    return chosen.call("backward", *arguments, upstream, border)


_apply.defvjp(_apply_forward, _apply_backward)


def _border(x: Array, kernels: Array, dilation: int, padding: str) -> Border:
    if x.ndim != 4:
        raise InputError(f"dynamic_filter: x is {list(x.shape)}, not [b,h,w,c]")
    b, h, w, c = x.shape
    side, groups = kernels.shape[-1], kernels.shape[3] if kernels.ndim == 6 else 0
    if kernels.shape != (b, h, w, groups, side, side) or side % 2 == 0:
        raise InputError(
            f"dynamic_filter: kernels are {list(kernels.shape)}, not [{b},{h},{w},g,K,K] with K odd"
        )
    if groups == 0 or c % groups:
        raise InputError(f"dynamic_filter: {c} channels do not split into {groups} groups")
    if dilation < 1:
        raise InputError(f"dynamic_filter: dilation={dilation} is not at least 1")
    if padding not in ("zero", "reflect"):
        raise InputError(f"dynamic_filter: padding={padding!r} is neither 'zero' nor 'reflect'")
    border = Border(side, dilation, padding == "reflect")
    if border.reflect and border.reach >= min(h, w):
        raise InputError(
            f"dynamic_filter: a mirror of {border.reach} pixels does not fit into {h}x{w}"
        )
    return border

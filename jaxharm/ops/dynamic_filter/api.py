"""The public function: it checks the arguments, chooses an implementation and has the gradient."""

import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import Implementation

Padding = Literal["zero", "reflect"]

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
    padding: Padding = "zero",
    implementation: str | None = None,
) -> Array:
    """Filters every pixel with its own kernel (cross-correlation: kernels are not flipped).

    With r = (k-1)/2 and x' the padded image:

        y[i,j,c] = sum_uv kernels[i,j,group(c),u,v] * x'[i + (u-r)*dilation, j + (v-r)*dilation, c]

    Both arguments have a gradient, and nothing else is kept for it.

    Args:
        x: f[b,h,w,c].
        kernels: f[b,h,w,g,k,k], k odd, u the vertical tap; the c channels fall into g equal groups
            of neighbors, which share a kernel: g = c is a kernel per channel, g = 1 one for all.
        dilation: distance of the taps, in pixels.
        padding: what lies outside the image: zeros, or its mirror image without the border pixel
            (mirrored again where the kernel reaches further than the image).
        implementation: see `jaxharm.ops.dispatch`.

    Returns:
        f[b,h,w,c] in the dtype of `x`; sums are float32 or wider.

    Raises:
        InputError: a shape that does not fit, an even kernel, groups that do not divide the
            channels, an unknown padding, or an implementation that does not exist.

    Source: arXiv 2305.11676. The kernels: docs/kernels.md.
    """
    _check(x, kernels, dilation, padding)
    arguments = dispatch.vary_together(jnp.asarray(x), jnp.asarray(kernels))
    # No implementation unfolds the image into k*k copies: the kernels are the only array of that size.
    return dispatch.run(
        "dynamic_filter", implementation, _OFFERED, _apply, arguments, (dilation, padding)
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _apply(
    chosen: Implementation, dilation: int, padding: Padding, x: Array, kernels: Array
) -> Array:
    return chosen.call("forward", x, kernels, dilation, padding)


def _apply_forward(
    chosen: Implementation, dilation: int, padding: Padding, x: Array, kernels: Array
) -> tuple[Array, tuple[Array, Array]]:
    return chosen.call("forward", x, kernels, dilation, padding), (x, kernels)


def _apply_backward(
    chosen: Implementation,
    dilation: int,
    padding: Padding,
    residuals: tuple[Array, Array],
    grad: Array,
) -> tuple[Array, Array]:
    return chosen.call("backward", *residuals, grad, dilation, padding)


_apply.defvjp(_apply_forward, _apply_backward)


def _check(x: Array, kernels: Array, dilation: int, padding: str) -> None:
    if x.ndim != 4:
        raise InputError(f"dynamic_filter: x is {list(x.shape)}, not [b,h,w,c]")
    if kernels.ndim != 6 or kernels.shape[:3] != x.shape[:3]:
        raise InputError(
            f"dynamic_filter: kernels are {list(kernels.shape)}, not {[*x.shape[:3], 'g', 'k', 'k']}"
        )
    groups, rows, columns = kernels.shape[3:]
    if rows != columns or rows % 2 == 0:
        raise InputError(
            f"dynamic_filter: kernels are {rows}x{columns}; needed is a square with an odd side"
        )
    if groups < 1 or x.shape[-1] % groups:
        raise InputError(
            f"dynamic_filter: {groups} kernel groups do not divide {x.shape[-1]} channels"
        )
    if dilation < 1:
        raise InputError(f"dynamic_filter: dilation={dilation} must be positive")
    if padding not in get_args(Padding):
        raise InputError(
            f"dynamic_filter: padding={padding!r}; choose from {', '.join(get_args(Padding))}"
        )

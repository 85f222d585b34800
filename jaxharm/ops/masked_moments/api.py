"""The public function: it checks the arguments, chooses an implementation and has the gradient."""

import functools

import jax
import jax.numpy as jnp

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import Implementation

_OFFERED = {
    "reference": Implementation("jaxharm.ops.masked_moments.reference"),
    "pallas_tpu": Implementation("jaxharm.ops.masked_moments.pallas_tpu"),
    "pallas_gpu": Implementation("jaxharm.ops.masked_moments.pallas_triton"),
    "pallas_mosaic_gpu": Implementation("jaxharm.ops.masked_moments.pallas_mosaic_gpu"),
    "pallas_interpret": Implementation("jaxharm.ops.masked_moments.pallas_tpu", interpret=True),
}


def masked_moments(
    x: Array, mask: Array, *, eps: float = 1e-5, implementation: str | None = None
) -> tuple[Array, Array]:
    """Mean and standard deviation over the pixels of each image, weighted by a mask.

    With n = sum m:  mean = sum(x*m) / (n + eps),  std = sqrt(sum ((x-mean)*m)^2 / (n + eps) + eps):
    biased, and the deviation has the square of a soft mask. Both have gradients for x and mask.
    Degenerate cases are finite: an empty mask gives mean 0 and std sqrt(eps), a constant region
    std sqrt(eps).

    Args:
        x: f[b,h,w,c].
        mask: f[b,h,w,1] in [0,1].
        eps: added to the mask's sum and to the variance.
        implementation: see `jaxharm.ops.dispatch`.

    Returns:
        (mean, std), each f32[b,1,1,c] whatever the dtype of `x`.

    Raises:
        InputError: shapes that do not fit, or an implementation that does not exist.

    Source: arXiv 2402.17561 and 2312.10264. The kernels: docs/kernels.md.
    """
    if x.ndim != 4 or mask.shape != (*x.shape[:3], 1):
        raise InputError(
            f"masked_moments: x is {list(x.shape)} and mask {list(mask.shape)}, "
            "not [b,h,w,c] and [b,h,w,1]"
        )
    arguments = dispatch.vary_together(jnp.asarray(x), jnp.asarray(mask))
    return dispatch.run("masked_moments", implementation, _OFFERED, _apply, arguments, (eps,))


def _apply(chosen: Implementation, eps: float, x: Array, mask: Array) -> tuple[Array, Array]:
    # The reference differentiates itself; kernels need a rule of their own.
    if chosen is _OFFERED["reference"]:
        return chosen.call("moments", x, mask, eps)
    return _by_kernels(chosen, eps, x, mask)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _by_kernels(chosen: Implementation, eps: float, x: Array, mask: Array) -> tuple[Array, Array]:
    return chosen.call("forward", x, mask, eps)[:2]


def _forward(
    chosen: Implementation, eps: float, x: Array, mask: Array
) -> tuple[tuple[Array, Array], tuple[object, ...]]:
    found = chosen.call("forward", x, mask, eps)
    return found[:2], (x, mask, found)


def _backward(
    chosen: Implementation, eps: float, residuals: tuple[object, ...], grads: tuple[Array, Array]
) -> tuple[Array, Array]:
    return chosen.call("backward", *residuals, grads, eps)


_by_kernels.defvjp(_forward, _backward)

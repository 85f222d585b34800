"""The public function: it checks the arguments, chooses an implementation and has the gradient."""

import functools

import jax
import jax.numpy as jnp

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import Implementation

_OFFERED = {
    "reference": Implementation("jaxharm.ops.masked_adain.reference"),
    "pallas_tpu": Implementation("jaxharm.ops.masked_adain.pallas_tpu"),
    "pallas_gpu": Implementation("jaxharm.ops.masked_adain.pallas_triton"),
    "pallas_mosaic_gpu": Implementation("jaxharm.ops.masked_adain.pallas_mosaic_gpu"),
    "pallas_interpret": Implementation("jaxharm.ops.masked_adain.pallas_tpu", interpret=True),
}


def masked_adain(
    content: Array,
    style: Array,
    mask: Array,
    *,
    style_mask: Array | None = None,
    eps: float = 1e-5,
    implementation: str | None = None,
) -> Array:
    """Gives the masked part of `content` the mean and standard deviation of `style`.

    With the moments of `masked_moments`, (mu_c, sd_c) of the content under `mask` and (mu_s, sd_s)
    of the style under `style_mask`:

        result = mask * ((content - mu_c)/sd_c * sd_s + mu_s) + (1 - mask) * content

    Every floating argument has a gradient, through both pairs of moments; only the arguments and
    the moments are kept for it. Degenerate cases are finite, gradients included: an empty mask
    gives the content bit for bit, a mask of one pixel (or a constant region) mu_s there, an empty
    style mask a mean of 0 and a deviation of sqrt(eps).

    Args:
        content: f[b,h,w,c].
        style: f[b,h,w,c].
        mask: f[b,h,w,1] in [0,1], 1 = restyled; may be soft (the deviation has its square).
        style_mask: f[b,h,w,1] in [0,1], where the style is measured; None: everywhere.
        eps: added to the mask sums and to the variances.
        implementation: see `jaxharm.ops.dispatch`.

    Returns:
        f[b,h,w,c] in the dtype of `content`; the arithmetic is float32.

    Raises:
        InputError: shapes that do not fit, or an implementation that does not exist.

    Source: arXiv 2312.10264. The kernels: docs/kernels.md.
    """
    content, style, mask = jnp.asarray(content), jnp.asarray(style), jnp.asarray(mask)
    if content.ndim != 4:
        raise InputError(f"masked_adain: content is {list(content.shape)}, not [b,h,w,c]")
    region = (*content.shape[:3], 1)
    expected = {"style": (style, content.shape), "mask": (mask, region)}
    if style_mask is not None:
        style_mask = jnp.asarray(style_mask)
        expected["style_mask"] = (style_mask, region)
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise InputError(f"masked_adain: {name} is {list(array.shape)}, not {list(shape)}")
    arguments = dispatch.vary_together(content, style, mask, style_mask)
    return dispatch.run("masked_adain", implementation, _OFFERED, _apply, arguments, (eps,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _apply(
    chosen: Implementation,
    eps: float,
    content: Array,
    style: Array,
    mask: Array,
    style_mask: Array | None,
) -> Array:
    return chosen.call("forward", content, style, mask, style_mask, eps)[0]


def _apply_forward(
    chosen: Implementation,
    eps: float,
    content: Array,
    style: Array,
    mask: Array,
    style_mask: Array | None,
) -> tuple[Array, tuple[object, ...]]:
    result, statistics = chosen.call("forward", content, style, mask, style_mask, eps)
    return result, (content, style, mask, style_mask, statistics)


def _apply_backward(
    chosen: Implementation, eps: float, residuals: tuple[object, ...], grad: Array
) -> tuple[Array | None, ...]:
    return chosen.call("backward", *residuals, grad, eps)


_apply.defvjp(_apply_forward, _apply_backward)

"""The public function: it checks the arguments, chooses an implementation and has the gradient."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import Implementation

Saved = tuple[Array | None, ...]

_OFFERED = {
    "reference": Implementation("jaxharm.ops.apply_curves.reference"),
    "pallas_tpu": Implementation("jaxharm.ops.apply_curves.pallas_tpu"),
    "pallas_gpu": Implementation("jaxharm.ops.apply_curves.pallas_triton"),
    "pallas_interpret": Implementation("jaxharm.ops.apply_curves.pallas_tpu", interpret=True),
}


def apply_curves(
    image: Array,
    curves: Array,
    *,
    mask: Array | None = None,
    shading: Array | None = None,
    background: Array | None = None,
    implementation: str | None = None,
) -> Array:
    """Applies one piecewise-linear curve per channel, and blends if `mask` is given.

    Knot i of a curve of k knots is at (i + 0.5)/k; left of the first and right of the last
    knot the curve is flat. With C the curved image, m `mask`, bg `background`, S `shading`:
    without a mask the result is C; with mask and background it is P = C*m + (1-m)*bg; with shading
    as well it is P*S*m + (1-m)*bg (a soft mask then attenuates twice, as in the published code).

    Every floating argument has a gradient. For the image it is the slope of the interval to the
    right of the pixel's value, zero from the first knot down and from the last knot up.

    Args:
        image: f[b,h,w,3], sRGB in [0,1]; values outside are on the flat ends.
        curves: f[b,3,k], k >= 2, values at the knots, in R, G, B order.
        mask: f[b,h,w,1] in [0,1], 1 = foreground.
        shading: f[b,h,w,1], gain of the foreground; needs mask and background.
        background: f[b,h,w,3]; given together with mask.
        implementation: see `jaxharm.ops.dispatch`.

    Returns:
        f[b,h,w,3] in the image's dtype; the arithmetic is float32.

    Raises:
        InputError: a shape that does not fit, mask without background or the reverse, shading
            without them, or an implementation that does not exist.

    Source: arXiv 2303.00157. The kernels: docs/kernels.md.
    """
    _check(image, curves, mask, shading, background)
    given = (image, curves, mask, shading, background)
    arguments = dispatch.vary_together(*(None if a is None else jnp.asarray(a) for a in given))
    return dispatch.run("apply_curves", implementation, _OFFERED, _apply, arguments)


# JAX cannot differentiate a Pallas call, and autodiff of the reference would keep the look-up's
# intermediate images. Here nothing but the arguments is kept.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _apply(
    chosen: Implementation,
    image: Array,
    curves: Array,
    mask: Array | None,
    shading: Array | None,
    background: Array | None,
) -> Array:
    return chosen.call("forward", image, curves, mask, shading, background)


def _apply_forward(chosen: Implementation, *arguments: Array | None) -> tuple[Array, Saved]:
    return chosen.call("forward", *arguments), arguments


def _apply_backward(chosen: Implementation, arguments: Saved, upstream: Array) -> Saved:
    return chosen.call("backward", arguments, upstream)


_apply.defvjp(_apply_forward, _apply_backward)


def _check(
    image: Array,
    curves: Array,
    mask: Array | None,
    shading: Array | None,
    background: Array | None,
) -> None:
    if image.ndim != 4 or image.shape[-1] != 3:
        raise InputError(f"apply_curves: image is {list(image.shape)}, not [b,h,w,3]")
    b, h, w, _ = image.shape
    if curves.ndim != 3 or curves.shape[:2] != (b, 3) or curves.shape[2] < 2:
        raise InputError(
            f"apply_curves: curves are {list(curves.shape)}, not [{b},3,k] with k of at least 2"
        )
    if (mask is None) != (background is None):
        raise InputError("apply_curves: give mask and background together, or neither")
    if shading is not None and mask is None:
        raise InputError("apply_curves: shading needs mask and background")
    for name, value, channels in (
        ("mask", mask, 1),
        ("shading", shading, 1),
        ("background", background, 3),
    ):
        if value is not None and value.shape != (b, h, w, channels):
            raise InputError(
                f"apply_curves: {name} is {list(value.shape)}, not {[b, h, w, channels]}"
            )

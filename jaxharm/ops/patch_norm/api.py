"""The public function: it checks the arguments, chooses an implementation and has the gradient."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import Implementation

_OFFERED = {
    "reference": Implementation("jaxharm.ops.patch_norm.reference"),
    "pallas_tpu": Implementation("jaxharm.ops.patch_norm.pallas_tpu"),
    "pallas_gpu": Implementation("jaxharm.ops.patch_norm.pallas_triton"),
    "pallas_mosaic_gpu": Implementation("jaxharm.ops.patch_norm.pallas_mosaic_gpu"),
    "pallas_interpret": Implementation("jaxharm.ops.patch_norm.pallas_tpu", interpret=True),
}
_VECTORS = ("fg_var", "fg_bias", "patched_fg_var", "patched_fg_bias", "bg_var", "bg_bias")


def patch_norm(
    x: Array,
    mask: Array,
    params: Mapping[str, Array],
    *,
    grid: int,
    eps: float = 1e-7,
    implementation: str | None = None,
) -> Array:
    """Gives the foreground the background's statistics, and normalizes the background.

    With mean mu and standard deviation sigma of each region as in `masked_moments`, mu_p the
    background mean of patch p of the grid, and U = (x - mu_f)/sigma_f * sigma_b:

        G = (U + mu_b) * fg_var + fg_bias
        P = (U + sum_p grid_weights[p] * mu_p) * patched_fg_var + patched_fg_bias
        B = (x - mu_b)/sigma_b * bg_var + bg_bias
        result = (weights[0]*G + weights[1]*P) * m + B * (1 - m)

    Every floating argument has a gradient; only x, the mask and the statistics are kept for it.
    Degenerate cases are finite: an empty region or patch has mean 0, an empty or constant region
    the standard deviation sqrt(eps).

    Args:
        x: f[b,h,w,c]; both the foreground and the background are read from it.
        mask: f[b,h,w,1] in [0,1], 1 = foreground; may be soft.
        params: weights f[2] (whole image, patches); fg_var, fg_bias, patched_fg_var,
            patched_fg_bias, bg_var, bg_bias f[c]; grid_weights f[grid,grid,c].
        grid: patches per side, each floor(side/grid) long, the last one with the remainder.
        eps: added to mask sums and variances.
        implementation: see `jaxharm.ops.dispatch`.

    Returns:
        f[b,h,w,c] in the dtype of `x`; the arithmetic is float32.

    Raises:
        InputError: a shape that does not fit, a grid finer than the image, missing or unknown
            params, or an implementation that does not exist.

    Source: arXiv 2402.17561. The kernels: docs/kernels.md.
    """
    _check(x, mask, params, grid)
    arrays = {key: jnp.asarray(value) for key, value in params.items()}
    arguments = dispatch.vary_together(jnp.asarray(x), jnp.asarray(mask), arrays)
    return dispatch.run("patch_norm", implementation, _OFFERED, _apply, arguments, (grid, eps))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _apply(
    chosen: Implementation, grid: int, eps: float, x: Array, mask: Array, params: dict[str, Array]
) -> Array:
    return chosen.call("forward", x, mask, params, grid, eps)[0]


def _apply_forward(
    chosen: Implementation, grid: int, eps: float, x: Array, mask: Array, params: dict[str, Array]
) -> tuple[Array, tuple[object, ...]]:
    result, statistics = chosen.call("forward", x, mask, params, grid, eps)
    return result, (x, mask, params, statistics)


def _apply_backward(
    chosen: Implementation, grid: int, eps: float, residuals: tuple[object, ...], grad: Array
) -> tuple[Array, Array, dict[str, Array]]:
    return chosen.call("backward", *residuals, grad, grid, eps)


_apply.defvjp(_apply_forward, _apply_backward)


def _check(x: Array, mask: Array, params: Mapping[str, Array], grid: int) -> None:
    if x.ndim != 4:
        raise InputError(f"patch_norm: x is {list(x.shape)}, not [b,h,w,c]")
    b, h, w, c = x.shape
    if mask.shape != (b, h, w, 1):
        raise InputError(f"patch_norm: mask is {list(mask.shape)}, not {[b, h, w, 1]}")
    if not 1 <= grid <= min(h, w):
        raise InputError(f"patch_norm: grid={grid} does not cut {h}x{w} pixels into patches")
    expected = {
        "weights": (2,),
        **dict.fromkeys(_VECTORS, (c,)),
        "grid_weights": (grid, grid, c),
    }
    if set(params) != set(expected):
        raise InputError(
            f"patch_norm: params are {', '.join(sorted(params))}; needed: {', '.join(expected)}"
        )
    for key, shape in expected.items():
        if params[key].shape != shape:
            raise InputError(
                f"patch_norm: params[{key!r}] is {list(params[key].shape)}, not {list(shape)}"
            )

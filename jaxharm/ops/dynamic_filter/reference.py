"""The definition in jax.numpy: one multiply-add of a shifted image per tap."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax import lax

from jaxharm.interfaces import Array
from jaxharm.ops.platforms import by_platform


def forward(x: Array, kernels: Array, dilation: int, padding: str) -> Array:
    """The result, in the dtype of `x`."""
    wide = _wide(x, kernels)
    padded = _pad(x, kernels, dilation, padding)
    # XLA fuses the taps into one pass over the kernels; no shifted image is written to memory.
    total = jnp.zeros(_grouped(x, kernels).shape, wide)
    for u, v, rows, columns in _taps(x, kernels, dilation):
        shifted = _grouped(padded[:, rows, columns], kernels).astype(wide)
        total += kernels[..., u, v, None].astype(wide) * shifted
    return total.reshape(x.shape).astype(x.dtype)


def backward(
    x: Array, kernels: Array, grad: Array, dilation: int, padding: str
) -> tuple[Array, Array]:
    """Gradients with respect to x and the kernels, given that of the result."""
    return (
        _image_gradient(x, kernels, grad, dilation, padding),
        _kernel_gradient(x, kernels, grad, dilation, padding),
    )


def _image_gradient(x: Array, kernels: Array, grad: Array, dilation: int, padding: str) -> Array:
    """Every tap sends k*grad to the pixel it read, then the padding to the pixels it copied."""
    wide, reach = _wide(x, kernels), (kernels.shape[-1] - 1) * dilation
    grouped = _grouped(grad, kernels).astype(wide)
    b, h, w, c = x.shape
    total = jnp.zeros((b, h + reach, w + reach, c), wide)
    for u, v, rows, columns in _taps(x, kernels, dilation):
        sent = (kernels[..., u, v, None].astype(wide) * grouped).reshape(x.shape)
        borders = ((first.start, reach - first.start, 0) for first in (rows, columns))
        total += lax.pad(sent, jnp.zeros((), wide), ((0, 0, 0), *borders, (0, 0, 0)))
    image = jax.ShapeDtypeStruct(x.shape, wide)
    to_image = jax.linear_transpose(lambda a: _pad(a, kernels, dilation, padding), image)
    return to_image(total)[0].astype(x.dtype)


def _kernel_gradient(x: Array, kernels: Array, grad: Array, dilation: int, padding: str) -> Array:
    padded = _pad(x, kernels, dilation, padding)
    taps = list(_taps(x, kernels, dilation))

    def at_once(padded: Array, grad: Array) -> Array:
        return _products(grad, [padded[:, rows, columns] for _, _, rows, columns in taps], kernels)

    def row_by_row(padded: Array, grad: Array) -> Array:
        b, h, w, c = grad.shape
        reach = padded.shape[1] - h

        def one(index: Array, result: Array) -> Array:
            image, row = index // h, index % h
            size = (1, reach + 1, w + reach, c)
            window = lax.dynamic_slice(padded, (image, row, 0, 0), size)
            upstream = lax.dynamic_slice(grad, (image, row, 0, 0), (1, 1, w, c))
            # `rows` starts at the row of the window that the tap reads for this row.
            shifted = [window[:, rows.start, None, columns] for _, _, rows, columns in taps]
            made = _products(upstream, shifted, kernels)[0]
            return lax.dynamic_update_slice_in_dim(result, made, index, 0)

        start = jnp.zeros((b * h, *kernels.shape[2:4], len(taps)), kernels.dtype)
        return lax.fori_loop(0, b * h, one, start).reshape(*kernels.shape[:4], -1)

    # The taps lie innermost in this result. In one piece, XLA on CPU writes the memory of all
    # kernels several times over; row by row it stays in the cache. Elsewhere it is one fused pass,
    # and a loop over rows would starve the device.
    forms: dict[str, Callable[[Array, Array], Array]] = {"cpu": row_by_row, "default": at_once}
    return by_platform(padded, grad, **forms).reshape(kernels.shape)


def _products(grad: Array, shifted: list[Array], kernels: Array) -> Array:
    """f[b,h,w,g,k*k]: per tap, grad times the shifted image, summed over the group."""
    wide = _wide(grad, kernels)
    upstream = _grouped(grad, kernels).astype(wide)
    taps = [jnp.sum(upstream * _grouped(part, kernels).astype(wide), -1) for part in shifted]
    # Stacked before the groups, then transposed: XLA is slow to interleave single numbers.
    return jnp.swapaxes(jnp.stack(taps, -2), -1, -2).astype(kernels.dtype)


def _taps(x: Array, kernels: Array, dilation: int) -> Iterator[tuple[int, int, slice, slice]]:
    """The taps u, v, and the rows and columns of the padded image that each reads."""
    h, w = x.shape[1:3]
    for u in range(kernels.shape[-2]):
        for v in range(kernels.shape[-1]):
            top, left = u * dilation, v * dilation
            yield u, v, slice(top, top + h), slice(left, left + w)


def _pad(x: Array, kernels: Array, dilation: int, padding: str) -> Array:
    border = (kernels.shape[-1] - 1) // 2 * dilation
    mode = "constant" if padding == "zero" else "reflect"
    return jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)), mode=mode)


def _grouped(x: Array, kernels: Array) -> Array:
    """f[b,h,w,c] -> f[b,h,w,g,c/g]."""
    groups = kernels.shape[3]
    return x.reshape(*x.shape[:3], groups, x.shape[3] // groups)


def _wide(x: Array, kernels: Array) -> jnp.dtype:
    return jnp.promote_types(jnp.promote_types(x.dtype, kernels.dtype), jnp.float32)

"""Resizes images with the numerics of PyTorch's `interpolate`, without antialiasing.

"bilinear" and "bicubic" have half-pixel centers; "aligned" is bilinear with the corner pixels of
both sizes in the same place (align_corners).
"""

from functools import cache
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.interfaces import Array

Kind = Literal["bilinear", "bicubic", "aligned"]
Padding = Literal["zero", "edge"]
_CUBIC = -0.75  # PyTorch's Keys parameter; jax.image's "cubic" has -0.5


def resize(x: Array, size: tuple[int, int], kind: Kind) -> Array:
    """Resizes the height and width of images or feature maps.

    Args:
        x: f[b,h,w,c].
        size: new (height, width).
        kind: "bilinear", "aligned", or "bicubic" with a = -0.75; indices beyond the border are
            clamped.

    Returns:
        f[b,*size,c] in the dtype of `x`; the arithmetic is float32.
    """
    # Two small matrices, one per axis, so that the gradient is a product with their transposes.
    rows, columns = (
        jnp.asarray(interpolation_matrix(old, new, kind))
        for old, new in zip(x.shape[1:3], size, strict=True)
    )
    y = x.astype(jnp.float32)
    highest = jax.lax.Precision.HIGHEST
    y = jnp.einsum("yh,bhwc->bywc", rows, y, precision=highest)
    return jnp.einsum("xw,bywc->byxc", columns, y, precision=highest).astype(x.dtype)


def double(x: Array) -> Array:
    """Enlarges to twice the size; the same as `resize` of kind "bilinear".

    Args:
        x: f[b,h,w,c].

    Returns:
        f[b,2h,2w,c] in the dtype of `x`; the arithmetic is float32.
    """
    # By shifts: the time grows with the pixels, that of a matrix product with pixels times side.
    y = _double(_double(x.astype(jnp.float32), 1), 2)
    return y.astype(x.dtype)


def _double(x: Array, axis: int) -> Array:
    """`double` along one axis: every pixel becomes two, a quarter of the way to its neighbors."""
    first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, x.shape[axis] - 1))
    before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, -1, axis=axis)], axis)
    after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, None, axis=axis), last], axis)
    pairs = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    shape = list(x.shape)
    shape[axis] *= 2
    return pairs.reshape(shape)


def resize_conv3x3(
    x: Array, kernel: Array, size: tuple[int, int], kind: Kind, *, padding: Padding = "zero"
) -> Array:
    """Resizes `x`, then convolves with a 3x3 kernel to one channel, without the large activation.

    Equal to convolving `resize(x, size, kind)` with padding 1, but memory is 9 values per small
    pixel and 1 per large pixel, instead of c per large pixel.

    Args:
        x: f[b,h,w,c].
        kernel: f[3,3,c,1].
        size: (height, width) of the result.
        kind: see `resize`.
        padding: what the convolution sees beyond the border: zeros, or the border's pixels.

    Returns:
        f32[b,*size,1].
    """
    b, h, w, c = x.shape
    highest = jax.lax.Precision.HIGHEST
    # Both steps are linear, so their order may change: the nine taps are applied at the small size,
    # and their shifts by one large pixel go into the rows of the resize matrices.
    taps = jnp.einsum(
        "bhwc,uvc->buhvw", x.astype(jnp.float32), kernel.reshape(3, 3, c), precision=highest
    ).reshape(b, 3 * h, 3 * w)
    rows, columns = (
        jnp.asarray(_shifted_matrices(old, new, kind, padding))
        for old, new in zip((h, w), size, strict=True)
    )
    y = jnp.einsum("yp,bpq->byq", rows, taps, precision=highest)
    return jnp.einsum("xq,byq->byx", columns, y, precision=highest)[..., None]


@cache
def interpolation_matrix(old: int, new: int, kind: Kind) -> np.ndarray:
    """The resize of one line as a matrix f32[new,old]: output pixel i is row i times the input."""
    # NumPy's float64, rounded once at the end; cached, since every trace needs the same few.
    if kind == "aligned":
        source = np.arange(new) * ((old - 1) / max(new - 1, 1))
    else:
        source = (np.arange(new) + 0.5) * old / new - 0.5
    if kind != "bicubic":
        source = np.maximum(source, 0.0)  # PyTorch clamps positions here, but not for bicubic
        base = np.floor(source)
        fraction = source - base
        taps = [(0, 1 - fraction), (1, fraction)]
    else:
        base = np.floor(source)
        fraction = source - base
        taps = [(offset, _cubic(fraction - offset)) for offset in (-1, 0, 1, 2)]
    matrix = np.zeros((new, old))
    for offset, weight in taps:
        column = np.clip(base + offset, 0, old - 1).astype(int)

        np.add.at(matrix, (np.arange(new), column), weight)
    return matrix.astype(np.float32)


def _cubic(t: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel at distances |t| up to 2."""
    t, a = np.abs(t), _CUBIC
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    return np.where(t <= 1, near, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a)


@cache
def _shifted_matrices(old: int, new: int, kind: Kind, padding: Padding) -> np.ndarray:
    """f32[new, 3*old]: the interpolation matrix seen from the pixel before, itself, the one after."""
    matrix = interpolation_matrix(old, new, kind)
    matrix = np.pad(matrix, ((1, 1), (0, 0)), mode="constant" if padding == "zero" else "edge")
    return np.concatenate([matrix[tap : tap + new] for tap in range(3)], 1)

"""Convolutions that are fast on every platform, and so are their gradients.

The results are those of `lax.conv` up to rounding; what differs is how the gradients, transposed
convolutions, very small outputs and, on CPUs, wide layers are computed. The comments give
the reason at each place.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxharm.interfaces import Array
from jaxharm.ops import winograd
from jaxharm.ops.platforms import by_platform

Padding = tuple[tuple[int, int], tuple[int, int]]
_LAYOUT = ("NHWC", "HWIO", "NHWC")
# Below this many kernel columns or rows a matrix product is too thin to beat XLA's convolution.
_THIN = 24
# The same for the input gradient by phases, which is a convolution again.
_THIN_PHASES = 8
# Up to this many output pixels per image the patches are a small matrix.
_FEW_PIXELS = 4
# From so many channels and 2x2 tiles of pixels on, Winograd's form of a 3x3 convolution is faster on
# CPUs, and that of its kernel gradient (benchmarks/wide_convolutions.py measures it).
_WIDE, _WIDE_GRAD, _TILES = 192, 32, 64
# From this many input elements on, the copies of kernel gradients are worth avoiding.
_LARGE = 2**22


def convolve(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """The same as `conv2d`, but as one matrix product for 1x1 kernels and outputs of a few pixels.

    Arguments and result are those of `conv2d`.
    """
    # For these shapes XLA's convolutions on CPU take up to 40 times as long as a matrix product,
    # most of all in their gradients.
    kh, kw, c, o = kernel.shape
    if (kh, kw, stride, padding) == (1, 1, 1, ((0, 0), (0, 0))):
        return jnp.dot(x, kernel.reshape(c, o))
    rows, columns = (
        (x.shape[axis + 1] + sum(padding[axis]) - kernel.shape[axis]) // stride + 1
        for axis in (0, 1)
    )
    if rows * columns > _FEW_PIXELS:
        return conv2d(x, kernel, stride, padding)
    # Taps that meet nothing but padding are left out of the product.
    used = [
        [
            tap
            for tap in range(kernel.shape[axis])
            if any(
                0 <= tap - padding[axis][0] + stride * i < x.shape[axis + 1] for i in range(count)
            )
        ]
        for axis, count in enumerate((rows, columns))
    ]
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    patches = [
        padded[
            :, u : u + stride * (rows - 1) + 1 : stride, v : v + stride * (columns - 1) + 1 : stride
        ]
        for u in used[0]
        for v in used[1]
    ]
    core = kernel[used[0][0] : used[0][-1] + 1, used[1][0] : used[1][-1] + 1]
    return jnp.dot(jnp.concatenate(patches, -1), core.reshape(-1, o))


def conv2d(x: Array | Sequence[Array], kernel: Array, stride: int, padding: Padding) -> Array:
    """Convolution (cross-correlation) with zero padding, without bias.

    Args:
        x: f[b,h,w,c]; or several arrays, which count as concatenated along the channels: the copy
            is never made, and nothing but the inputs is kept for the gradient.
        kernel: f[kh,kw,c,o], of the dtype of `x`; c counts the channels of all inputs.
        stride: the same along both axes.
        padding: ((top, bottom), (left, right)) zero pixels.

    Returns:
        f[b,h',w',o] of the same dtype, h' = (h + top + bottom - kh) // stride + 1.
    """
    inputs = tuple(x) if isinstance(x, list | tuple) else (x,)
    return _conv_sum(inputs, kernel, stride, padding)


def conv_transpose2d(x: Array, kernel: Array) -> Array:
    """Transposed convolution 4x4, stride 2, one pixel of padding: doubles the size, no bias.

    Output pixel 2p reads kernel rows 0, 2 at input rows p-1, p; pixel 2p+1 reads rows 1, 3 at
    input rows p, p+1; columns alike. (The official layout stores the kernel flipped spatially.)

    Args:
        x: f[b,h,w,c].
        kernel: f[4,4,c,o], of the dtype of `x`.

    Returns:
        f[b,2h,2w,o] of the same dtype.

    Raises:
        ValueError: another kernel size.
    """
    if kernel.shape[:2] != (4, 4):
        raise ValueError(f"conv_transpose2d needs a 4x4 kernel, got {kernel.shape[:2]}")
    return _conv_transpose(x, kernel)


def _conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """XLA's own convolution, whose gradients are replaced below."""
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv_sum(inputs: tuple[Array, ...], kernel: Array, stride: int, padding: Padding) -> Array:
    # The kernel is split instead of joining the inputs: a convolution is linear in its channels.
    parts = zip(inputs, _split(kernel, inputs), strict=True)
    return functools.reduce(jnp.add, [_forward(x, part, stride, padding) for x, part in parts])


def _forward(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    def by_convolution(x: Array, kernel: Array) -> Array:
        return _conv(x, kernel, stride, padding)

    def by_tiles(x: Array, kernel: Array) -> Array:
        return winograd.convolve(x, kernel, padding)

    if winograd.fits(x, kernel, stride, padding, channels=_WIDE, tiles=_TILES):
        return by_platform(x, kernel, cpu=by_tiles, default=by_convolution)
    return by_convolution(x, kernel)


def _conv_sum_fwd(
    inputs: tuple[Array, ...], kernel: Array, stride: int, padding: Padding
) -> tuple[Array, tuple[tuple[Array, ...], Array]]:
    return _conv_sum(inputs, kernel, stride, padding), (inputs, kernel)


def _conv_sum_bwd(
    stride: int, padding: Padding, residuals: tuple[tuple[Array, ...], Array], grad: Array
) -> tuple[tuple[Array, ...], Array]:
    inputs, kernel = residuals
    parts = _split(kernel, inputs)
    input_grads = [
        _input_grad(x, part, grad, stride, padding) for x, part in zip(inputs, parts, strict=True)
    ]
    kernel_grads = [
        _kernel_grad(x, grad, part, stride, padding) for x, part in zip(inputs, parts, strict=True)
    ]
    return tuple(input_grads), jnp.concatenate(kernel_grads, axis=2)


_conv_sum.defvjp(_conv_sum_fwd, _conv_sum_bwd)


def _split(kernel: Array, inputs: tuple[Array, ...]) -> list[Array]:
    """The kernel's part for each input."""
    ends = list(itertools.accumulate(x.shape[-1] for x in inputs))
    return jnp.split(kernel, ends[:-1], axis=2)


def _input_grad(x: Array, kernel: Array, grad: Array, stride: int, padding: Padding) -> Array:
    """Gradient of a convolution with respect to its input."""

    def by_convolution(grad: Array, kernel: Array) -> Array:
        return jax.vjp(lambda x: _conv(x, kernel, stride, padding), jnp.zeros_like(x))[1](grad)[0]

    def by_phases(grad: Array, kernel: Array) -> Array:
        return _conv_phases(grad, kernel[::-1, ::-1].swapaxes(2, 3))

    def by_tiles(grad: Array, kernel: Array) -> Array:
        return winograd.input_grad(kernel, grad, padding)

    if winograd.fits(x, kernel, stride, padding, channels=_WIDE, tiles=_TILES):
        return by_platform(grad, kernel, cpu=by_tiles, default=by_convolution)
    # The transpose of a 4x4 convolution of stride 2 is a transposed convolution: the phase form
    # is faster than XLA's dilated convolution on CPU. It makes even sides only.
    doubling = stride == 2 and kernel.shape[:2] == (4, 4) and padding == ((1, 1), (1, 1))
    even = x.shape[1] % 2 == x.shape[2] % 2 == 0
    if doubling and even and min(kernel.shape[2:]) >= _THIN_PHASES:
        return by_platform(grad, kernel, cpu=by_phases, default=by_convolution)
    return by_convolution(grad, kernel)


@jax.custom_vjp
def _conv_transpose(x: Array, kernel: Array) -> Array:
    return _conv_phases(x, kernel)


def _conv_transpose_fwd(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv_phases(x, kernel), (x, kernel)


def _conv_transpose_bwd(residuals: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    # The input gradient is the mirrored strided convolution, and the kernel gradient is the kernel
    # gradient of that one. Autodiff of the phases would need the kernel gradient of a dilated
    # convolution, for which XLA takes 20 to 50 times as long.
    x, kernel = residuals
    mirrored = kernel[::-1, ::-1].swapaxes(2, 3)  # 4, 4, o, c: from the output to the input
    padding = ((1, 1), (1, 1))
    dx = _conv(grad, mirrored, 2, padding)
    dmirrored = _kernel_grad(grad, x, mirrored, 2, padding)
    return dx, dmirrored[::-1, ::-1].swapaxes(2, 3)


_conv_transpose.defvjp(_conv_transpose_fwd, _conv_transpose_bwd)


def _conv_phases(x: Array, kernel: Array) -> Array:
    """The 4x4 stride-2 transposed convolution: four phases as channels, then interleaved."""
    # Each output pixel meets only 2x2 of the 4x4 taps, by its row and column being even or odd.
    # One 2x2 convolution computes all four phases at the small size, without the zeros that a
    # dilated convolution multiplies.
    b, h, w, c = x.shape
    o = kernel.shape[-1]
    # Tap (2u+a, 2v+b) of the kernel is tap (u, v) of phase (a, b).
    phases = kernel.reshape(2, 2, 2, 2, c, o).transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, c, 4 * o)
    y = _conv(x, phases, 1, ((1, 1), (1, 1))).reshape(b, h + 1, w + 1, 2, 2, o)
    # Phase a of output rows 2p, 2p+1 is computed from rows p-1+a and p+a, so its place in y is p+a.
    rows = [jnp.stack([y[:, i : i + h, j : j + w, i, j] for j in (0, 1)], axis=3) for i in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, o)


def _kernel_grad(x: Array, grad: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """Gradient of `conv2d` with respect to its kernel."""

    def by_convolution(x: Array, grad: Array) -> Array:
        return jax.vjp(lambda k: _conv(x, k, stride, padding), kernel)[1](grad)[0]

    def by_products(x: Array, grad: Array) -> Array:
        return kernel_grad_products(x, grad, kernel.shape, stride, padding)

    def by_tiles(x: Array, grad: Array) -> Array:
        return winograd.kernel_grad(x, grad, padding)

    if winograd.fits(x, kernel, stride, padding, channels=_WIDE_GRAD, tiles=_TILES):
        return by_platform(x, grad, cpu=by_tiles, default=by_convolution)
    # XLA lowers the kernel gradient to a convolution with a kernel as large as the image, which on
    # CPU has a quarter of the speed of matrix products. Other platforms keep it.
    if min(kernel.shape[2] * stride, kernel.shape[3]) < _THIN:
        return by_convolution(x, grad)
    return by_platform(x, grad, cpu=by_products, default=by_convolution)


def kernel_grad_products(
    x: Array, grad: Array, shape: tuple[int, ...], stride: int, padding: Padding
) -> Array:
    """Kernel gradient dK[i,j] = sum_pq x[s*p+i, s*q+j] grad[p,q], one matrix product per row i.

    Column j = s*v + r of the kernel: r selects one of s neighboring columns of x, which are taken
    as channels; v shifts the gradient, whose shifted copies are stacked as channels.
    """
    kh, kw, c, o = shape
    b, h, w, _ = grad.shape
    shifts = -(-kw // stride)
    height, width = h - 1 - (-kh // stride), w - 1 + shifts  # of x, in strides
    grad = jnp.pad(grad, ((0, 0), (0, 0), (shifts - 1, shifts - 1), (0, 0)))
    stacked = jnp.concatenate(
        [grad[:, :, shifts - 1 - v : shifts - 1 - v + width] for v in range(shifts)], axis=-1
    ).reshape(-1, shifts * o)
    extra = [
        (before, max(stride * n - size - before, 0))
        for n, size, (before, _) in zip((height, width), x.shape[1:3], padding, strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *extra, (0, 0)))[:, : stride * height, : stride * width]
    x = x.reshape(b, height, stride, width, stride * c)

    def row(i: Array | int) -> Array:
        start = (0, i // stride, i % stride, 0, 0)
        view = lax.dynamic_slice(x, start, (b, h, 1, width, stride * c))
        view = view.reshape(-1, stride * c)
        return lax.dot_general(view, stacked, (((0,), (0,)), ((), ())))

    # A loop keeps only one shifted copy of x at a time. Small inputs go without, because XLA's
    # loops multiply small matrices at a third of the speed.
    large = x.size > _LARGE
    rows = lax.map(row, jnp.arange(kh)) if large else jnp.stack([row(i) for i in range(kh)])
    rows = rows.reshape(kh, stride, c, shifts, o)
    return rows.transpose(0, 3, 1, 2, 4).reshape(kh, shifts * stride, c, o)[:, :kw]

"""3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3), for wide layers on CPUs.

A tile of 2x2 output pixels meets 4x4 input pixels. Directly, that takes 36 multiplications for each
pair of channels; after small sums over the pixels and over the taps it takes 16. These are sixteen
matrix products over the channels, nearly all the time of a wide layer. The sums only add, subtract
and halve: results differ from a direct convolution's in the last digits.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import lax

from jaxharm.interfaces import Array

Padding = tuple[tuple[int, int], tuple[int, int]]
Square = Sequence[Sequence[Array]]  # arrays by row and column of a tile, or of the taps


def fits(
    x: Array, kernel: Array, stride: int, padding: Padding, *, channels: int, tiles: int
) -> bool:
    """Whether a convolution is of this kind, and wide and large enough for the sums to pay.

    Args:
        x: f[b,h,w,c].
        kernel: f[kh,kw,c,o].
        stride: of the convolution.
        padding: ((top, bottom), (left, right)) zero pixels.
        channels: the least that both c and o must be.
        tiles: the least number of 2x2 tiles in all images: what the sums over the kernel need.
    """
    return (
        (*kernel.shape[:2], stride) == (3, 3, 1)
        and x.dtype == kernel.dtype == jnp.float32
        and min(kernel.shape[2:]) >= channels
        and x.size // x.shape[-1] >= 4 * tiles
        and max(*padding[0], *padding[1]) <= 2
    )


def convolve(x: Array, kernel: Array, padding: Padding) -> Array:
    """The convolution (cross-correlation) with zero padding.

    Args:
        x: f[b,h,w,c].
        kernel: f[3,3,c,o].
        padding: ((top, bottom), (left, right)) zero pixels.

    Returns:
        f[b,h',w',o], h' = h + top + bottom - 2.
    """
    return _convolve(x, kernel, padding, contracted=0)


def input_grad(kernel: Array, grad: Array, padding: Padding) -> Array:
    """Gradient of `convolve` with respect to `x`, f[b,h,w,c], from that of its result."""
    (top, bottom), (left, right) = padding
    rest = ((2 - top, 2 - bottom), (2 - left, 2 - right))
    return _convolve(grad, kernel[::-1, ::-1], rest, contracted=1)


def kernel_grad(x: Array, grad: Array, padding: Padding) -> Array:
    """Gradient of `convolve` with respect to `kernel`, f[3,3,c,o], from that of its result."""
    grad = jnp.pad(grad, ((0, 0), (0, grad.shape[1] % 2), (0, grad.shape[2] % 2), (0, 0)))
    grad = lax.optimization_barrier(grad)
    tiles = _summed(_of_input, _input_pixels(x, padding))
    pixels = _summed(_of_output, [[grad[:, i::2, j::2] for j in (0, 1)] for i in (0, 1)])
    # Matrices of two axes: with four, XLA moves the channels in memory before it multiplies.
    products = [
        [
            lax.dot_general(_matrix(tile), _matrix(pixel), (((0,), (0,)), ((), ())))
            for tile, pixel in zip(*row, strict=True)
        ]
        for row in zip(tiles, pixels, strict=True)
    ]
    return jnp.stack([jnp.stack(row) for row in _summed(_to_kernel, products)])


def _convolve(x: Array, kernel: Array, padding: Padding, *, contracted: int) -> Array:
    """`convolve`, with the kernel's channels of the input at axis 2 + `contracted`."""
    height, width = (x.shape[i + 1] + sum(padding[i]) - 2 for i in (0, 1))
    tiles = _summed(_of_input, _input_pixels(x, padding))
    taps = _summed(_of_kernel, [[kernel[i, j] for j in range(3)] for i in range(3)])
    # The products contract either axis of the taps. To swap the axes first takes longer than the
    # products themselves.
    products = [
        [
            lax.dot_general(tile, tap, (((3,), (contracted,)), ((), ())))
            for tile, tap in zip(*row, strict=True)
        ]
        for row in zip(tiles, taps, strict=True)
    ]
    pixels = _summed(_to_output, products)
    b, rows, columns, o = pixels[0][0].shape
    y = jnp.stack([jnp.stack(row, axis=3) for row in pixels], axis=2)
    return y.reshape(b, 2 * rows, 2 * columns, o)[:, :height, :width]


def _matrix(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _input_pixels(x: Array, padding: Padding) -> Square:
    """Pixel (i, j) of every 4x4 tile, f[b,tiles,tiles,c]; the tiles overlap by two pixels."""
    # One more line where the output is odd: it is cut off again, or meets zeros of the gradient.
    sides = [
        (first, last + (x.shape[i + 1] + first + last) % 2)
        for i, (first, last) in enumerate(padding)
    ]
    # Behind a barrier: the sixteen sums would each repeat the computation that gives x.
    x = lax.optimization_barrier(jnp.pad(x, ((0, 0), *sides, (0, 0))))
    rows, columns = x.shape[1] - 3, x.shape[2] - 3
    return [[x[:, i : i + rows : 2, j : j + columns : 2] for j in range(4)] for i in range(4)]


def _summed(sums: Callable[..., tuple[Array, ...]], square: Square) -> Square:
    """Applies sums along each row and then along each column."""
    rows = [sums(*row) for row in square]
    columns = [sums(*column) for column in zip(*rows, strict=True)]
    return list(zip(*columns, strict=True))


# The paper's matrices B^T, G and A^T, one line of pixels or taps at a time, and the transposes of
# the last two, which the kernel gradient needs.
def _of_input(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, ...]:
    return a - c, b + c, c - b, b - d


def _of_kernel(a: Array, b: Array, c: Array) -> tuple[Array, ...]:
    return a, (a + b + c) / 2, (a - b + c) / 2, c


def _to_output(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, ...]:
    return a + b + c, b - c - d


def _of_output(a: Array, b: Array) -> tuple[Array, ...]:
    return a, a + b, a - b, -b


def _to_kernel(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, ...]:
    return a + (b + c) / 2, (b - c) / 2, (b + c) / 2 + d

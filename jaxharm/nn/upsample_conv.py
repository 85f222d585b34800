"""Doubles the size (bilinear, aligned corners) and convolves with a 3x3 kernel, in one step.

Along one axis, with low-resolution rows k-1, k, k+1 and taps u = 0, 1, 2, output row 2k+a is a sum
of nine terms whose weights depend on k and a; six of them are not zero.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.interfaces import Array
from jaxharm.nn.resample import interpolation_matrix, resize
from jaxharm.ops.conv import conv2d
from jaxharm.ops.platforms import by_platform


@jax.custom_vjp
def upsample_conv3x3(x: Array, kernel: Array) -> Array:
    """Enlarges `x` to twice the size, then convolves it with zero padding 1.

    Args:
        x: f[b,h,w,c].
        kernel: f[3,3,c,o] of the same dtype.

    Returns:
        f[b,2h,2w,o] of that dtype.
    """
    # Both steps are linear and the convolution mixes channels only, so on CPU the nine taps are
    # applied at the small size: one matrix product with a quarter of the multiplications. Their
    # results are interpolated, shifted and summed; the enlarged input is never made.
    return by_platform(x, kernel, cpu=_by_taps, default=_by_enlarging)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return upsample_conv3x3(x, kernel), (x, kernel)


def _backward(saved: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    return by_platform(
        *saved,
        grad,
        cpu=_gradients_by_taps,
        default=lambda x, kernel, grad: jax.vjp(_by_enlarging, x, kernel)[1](grad),
    )


upsample_conv3x3.defvjp(_forward, _backward)


def _by_enlarging(x: Array, kernel: Array) -> Array:
    """The definition, and what other platforms run."""
    large = resize(x, (2 * x.shape[1], 2 * x.shape[2]), "aligned")
    return conv2d(large, kernel, 1, ((1, 1), (1, 1)))


def _by_taps(x: Array, kernel: Array) -> Array:
    """Taps first, then the sums along the rows, then along the columns."""
    b, h, w, _ = x.shape
    o = kernel.shape[-1]
    # The border of zeros fills in for neighbors that do not exist; `_spread` has no weight for them.
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = jnp.dot(padded, _flat(kernel)).reshape(b, h + 2, w + 2, 3, 3 * o)
    terms = [
        taps[:, n : n + h, None, :, u] * _along(_spread(h)[:, :, n, u], 1, 5).astype(x.dtype)
        for n in range(3)
        for u in range(3)
    ]
    rows = sum(terms[1:], terms[0]).reshape(b, 2 * h, w + 2, 3, o)
    terms = [
        rows[:, :, n : n + w, None, v] * _along(_spread(w)[:, :, n, v], 2, 5).astype(x.dtype)
        for n in range(3)
        for v in range(3)
    ]
    return sum(terms[1:], terms[0]).reshape(b, 2 * h, 2 * w, o)


def _gradients_by_taps(x: Array, kernel: Array, grad: Array) -> tuple[Array, Array]:
    """The transpose of `_by_taps`: gathers the gradients of the taps, then two matrix products."""
    b, h, w, c = x.shape
    o = kernel.shape[-1]
    # In pairs, because a small column l meets the large columns 2l-2 to 2l+3: pair l-1, l and l+1.
    pairs = jnp.pad(grad.reshape(b, 2 * h, w, 2, o), ((0, 0), (0, 0), (1, 1), (0, 0), (0, 0)))
    terms = [
        pairs[:, :, s // 2 : s // 2 + w, s % 2, None]
        * _along(_gather(w)[:, :, s], 2, 5).astype(x.dtype)
        for s in range(6)
    ]
    columns = sum(terms[1:], terms[0]).reshape(b, h, 2, w, 3 * o)
    pairs = jnp.pad(columns, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
    terms = [
        pairs[:, s // 2 : s // 2 + h, s % 2, :, None] * _across(_gather(h)[:, :, s]).astype(x.dtype)
        for s in range(6)
    ]
    taps = sum(terms[1:], terms[0]).reshape(b, h, w, 9 * o)
    flat = taps.reshape(-1, 9 * o)
    d_x = jnp.dot(taps, _flat(kernel).T)
    d_kernel = jax.lax.dot_general(x.reshape(-1, c), flat, (((0,), (0,)), ((), ())))
    return d_x, d_kernel.reshape(c, 3, 3, o).transpose(1, 2, 0, 3)


def _flat(kernel: Array) -> Array:
    """f[3,3,c,o] -> f[c,9*o]."""
    return kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1)


def _along(weights: np.ndarray, axis: int, rank: int) -> Array:
    """f[n,m], for the axes `axis` and `axis + 1` of an array of `rank` axes."""
    shape = [1] * rank
    shape[axis : axis + 2] = weights.shape
    return jnp.asarray(weights.reshape(shape))


def _across(weights: np.ndarray) -> Array:
    """f[h,u] for the axes 1 and 3 of an array of 5."""
    return jnp.asarray(weights[None, :, None, :, None])


@cache
def _spread(size: int) -> np.ndarray:
    """f32[k,a,n,u]: weight of tap u of low-resolution row k+n-1 in output row 2k+a."""
    # Of the rows of the enlarged input, those outside it are the convolution's zero padding.
    weights = np.zeros((size, 2, 3, 3), np.float32)
    matrix = interpolation_matrix(size, 2 * size, "aligned")
    for k in range(size):
        for a in range(2):
            for u in range(3):
                row = 2 * k + a + u - 1  # of the enlarged input
                for n in range(3):
                    if 0 <= row < 2 * size and 0 <= k + n - 1 < size:
                        weights[k, a, n, u] = matrix[row, k + n - 1]
    return weights


@cache
def _gather(size: int) -> np.ndarray:
    """f32[r,u,s]: weight of output row 2r+s-2 in the gradient of tap u of low-resolution row r."""
    weights = np.zeros((size, 3, 6), np.float32)
    matrix = interpolation_matrix(size, 2 * size, "aligned")
    for r in range(size):
        for u in range(3):
            for s in range(6):
                row = 2 * r + s - 2 + u - 1
                if 0 <= 2 * r + s - 2 < 2 * size and 0 <= row < 2 * size:
                    weights[r, u, s] = matrix[row, r]
    return weights

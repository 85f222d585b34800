"""Convolution of every channel with its own kernel, in a form that is fast on CPU."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.init import Initializer
from jaxharm.ops.platforms import by_platform


class DepthwiseConv(nn.Module):
    """Layer: every channel has its own k x k kernel; padding (k-1)/2, no bias.

    Attributes:
        kernel_size: odd k.
        stride: of both axes.
        kernel_init: initializer of the (k, k, 1, c) kernel.
        dtype: of the computation.
    """

    kernel_size: int
    stride: int
    kernel_init: Initializer
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """f[b,h,w,c] -> f[b,ceil(h/stride),ceil(w/stride),c]."""
        k = self.kernel_size
        kernel = self.param("kernel", self.kernel_init, (k, k, 1, x.shape[-1]), jnp.float32)
        return depthwise_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_conv(x: Array, kernel: Array, stride: int) -> Array:
    """Convolves every channel with its own kernel, with zero padding (k-1)/2.

    Args:
        x: f[b,h,w,c].
        kernel: f[k,k,1,c], k odd.
        stride: 1 or 2.

    Returns:
        f[b,ceil(h/stride),ceil(w/stride),c].
    """
    # XLA fuses shifted multiply-adds into one pass on CPU, where its grouped convolution and the
    # gradients of it are 5 to 100 times slower (measured on the layers of MobileNetV3-Small).
    return by_platform(
        x, kernel, cpu=partial(_shifted, stride=stride), default=partial(_grouped, stride=stride)
    )


def _forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return depthwise_conv(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    return by_platform(
        *saved,
        g,
        cpu=partial(_shifted_gradients, stride=stride),
        default=lambda x, kernel, g: jax.vjp(partial(_grouped, stride=stride), x, kernel)[1](g),
    )


depthwise_conv.defvjp(_forward, _backward)


def _grouped(x: Array, kernel: Array, stride: int) -> Array:
    pad = (kernel.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _shifted(x: Array, kernel: Array, stride: int) -> Array:
    k = kernel.shape[0]
    b, h, w, c = x.shape
    rows, columns = -(-h // stride), -(-w // stride)
    padded = _pad(x, k)
    total = jnp.zeros((b, rows, columns, c), x.dtype)
    for u in range(k):
        for v in range(k):
            tap = padded[
                :,
                u : u + (rows - 1) * stride + 1 : stride,
                v : v + (columns - 1) * stride + 1 : stride,
            ]
            total = total + tap * kernel[u, v].reshape(1, 1, 1, c)
    return total


def _shifted_gradients(x: Array, kernel: Array, g: Array, stride: int) -> tuple[Array, Array]:
    if stride == 1:
        # The transpose of a convolution of stride 1 is one with the kernel turned around.
        d_x = _shifted(g, kernel[::-1, ::-1], 1)
    else:
        d_x = jax.vjp(lambda x: _shifted(x, kernel, stride), x)[1](g)[0]
    return d_x, _kernel_gradient(x, g, kernel.shape[0], stride).astype(kernel.dtype)


def _kernel_gradient(x: Array, g: Array, k: int, stride: int) -> Array:
    """f32[k,k,1,c]."""
    # Loops in place of k*k products written out: they compile faster, and with one sample at a
    # time all taps find it in the processor's cache.
    _, rows, columns, c = g.shape
    size = ((rows - 1) * stride + 1, (columns - 1) * stride + 1, c)

    def add(total: Array, sample: tuple[Array, Array]) -> tuple[Array, None]:
        padded, g = sample

        def tap(_: None, place: Array) -> tuple[None, Array]:
            window = jax.lax.dynamic_slice(padded, (place // k, place % k, 0), size)
            return None, jnp.sum(window[::stride, ::stride] * g, (0, 1), dtype=jnp.float32)

        return total + jax.lax.scan(tap, None, jnp.arange(k * k))[1], None

    total, _ = jax.lax.scan(add, jnp.zeros((k * k, c), jnp.float32), (_pad(x, k), g))
    return total.reshape(k, k, 1, c)


def _pad(x: Array, k: int) -> Array:
    pad = (k - 1) // 2
    return jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

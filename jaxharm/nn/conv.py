"""Convolution layers; the arithmetic, with its fast gradients, is that of `ops.conv`."""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.init import Initializer, he_normal_fan_out, uniform_fan_in
from jaxharm.ops.conv import conv2d, conv_transpose2d, convolve


class Conv(nn.Module):
    """Convolution layer.

    Attributes:
        features: number of output channels.
        kernel_size: side of the square kernel.
        stride: the same along both axes.
        padding: zero pixels on every side.
        use_bias: whether a per-channel constant is added.
        dtype: of the arithmetic and the output; parameters are float32.
        kernel_init, bias_init: None: PyTorch's default.
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, *inputs: Array) -> Array:
        """f[b,h,w,c] -> f[b,h',w',features].

        Several inputs count as one, concatenated along the channels.
        """
        channels = sum(x.shape[-1] for x in inputs)
        k = self.kernel_size
        init = uniform_fan_in(channels * k * k)
        shape = (k, k, channels, self.features)
        kernel = self.param("kernel", self.kernel_init or init, shape, jnp.float32)
        kernel = kernel.astype(self.dtype)
        padding = ((self.padding, self.padding),) * 2
        arrays = [x.astype(self.dtype) for x in inputs]
        if len(arrays) == 1:
            y = convolve(arrays[0], kernel, self.stride, padding)
        else:
            y = conv2d(arrays, kernel, self.stride, padding)
        if self.use_bias:
            bias = self.param("bias", self.bias_init or init, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return y


class ConvTranspose(nn.Module):
    """Transposed convolution layer that keeps (3x3) or doubles (4x4, stride 2) the size.

    Kernels are stored turned by 180 degrees against PyTorch's, so the 3x3 one is a plain convolution.

    Attributes:
        features: output channels.
        kernel_size: 3 (stride 1) or 4 (stride 2).
        dtype: of the arithmetic and the output; parameters are float32.
    """

    features: int
    kernel_size: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """f[b,h,w,c] -> f[b,s*h,s*w,features], s = 1 or 2."""
        k = self.kernel_size
        # PyTorch reads the fan from the second axis of the stored kernel, which for transposed
        # convolutions is the output.
        init = uniform_fan_in(self.features * k * k)
        kernel = self.param("kernel", init, (k, k, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", init, (self.features,), jnp.float32).astype(self.dtype)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        y = conv2d(x, kernel, 1, ((1, 1), (1, 1))) if k == 3 else conv_transpose2d(x, kernel)
        return y + bias.reshape(1, 1, 1, -1)


def he_conv(
    features: int, size: int, stride: int = 1, *, name: str, dtype: DTypeLike = jnp.float32
) -> Conv:
    """A convolution as residual networks use it: no bias, padding (size-1)/2, He by outgoing fan."""
    return Conv(
        features,
        size,
        stride,
        padding=(size - 1) // 2,
        use_bias=False,
        dtype=dtype,
        kernel_init=he_normal_fan_out(size, features),
        name=name,
    )

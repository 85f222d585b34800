"""Predicts a smooth gain map: a strided encoder and a short decoder that stops at a coarse grid.

The coarse map is enlarged bicubically, so that smoothness is built in instead of penalized.
Source: docs/papers/pih.md, "Network".
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.nn.conv import Conv
from jaxharm.nn.init import uniform_fan_in
from jaxharm.nn.norm import BatchNorm
from jaxharm.nn.resample import Padding, resize, resize_conv3x3

# Official layer names of the encoder; widths double from `width`.
ENCODER = ("conv1", "conv2", "conv3", "conv3_1", "conv3_2", "conv3_3")
# Decoder layer -> the encoder layer whose output it is enlarged to and added to.
DECODER = (("conv4_1", "conv3_2"), ("conv4_2", "conv3_1"), ("conv4_3", "conv3"))
_KERNEL, _PAD = 4, 1


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    features: int
    kernel: int
    stride: int
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[b,h,w,c] -> f[b,*,*,features]."""
        x = Conv(
            self.features,
            self.kernel,
            self.stride,
            _PAD,
            use_bias=False,
            dtype=self.dtype,
            name="conv",
        )(x)
        return nn.relu(BatchNorm(self.axis_name, name="bn")(x, train=train))


class ShadingNet(nn.Module):
    """Logits of the gain map, at any size.

    Attributes:
        width: channels of the first convolution.
        strides: of the six encoder convolutions.
        axis_name: mapped axis of the batch statistics.
        dtype: of the convolutions.
        padding: of the output convolution.
    """

    width: int
    strides: tuple[int, ...]
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32
    padding: Padding = "zero"

    @nn.compact
    def __call__(self, x: Array, size: tuple[int, int], *, train: bool) -> Array:
        """f[b,h,w,c] -> f32[b,*size,1]; h and w at least `smallest_input(strides)`."""
        y = nn.relu(Conv(self.width, 3, padding=_PAD, dtype=self.dtype, name="conv0")(x))
        features, encoded = self.width, {}
        for name, stride in zip(ENCODER, self.strides, strict=True):
            features *= 2
            y = ConvNorm(features, _KERNEL, stride, self.axis_name, self.dtype, name=name)(
                y, train=train
            )
            encoded[name] = y
        for name, skip in DECODER:
            features //= 2
            height, columns = encoded[skip].shape[1:3]
            y = resize(y, (height, columns), "bilinear")
            y = ConvNorm(features, 3, 1, self.axis_name, self.dtype, name=name)(y, train=train)
            y = y + encoded[skip]
        return _Head(self.padding, name="out")(y, size)


class _Head(nn.Module):
    """Bicubic enlargement, then a 3x3 convolution to one channel.

    Both are linear: `resize_conv3x3` convolves the small map and enlarges the result, which saves
    the large one of many channels.
    """

    padding: Padding

    @nn.compact
    def __call__(self, x: Array, size: tuple[int, int]) -> Array:
        init = uniform_fan_in(9 * x.shape[-1])
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], 1), jnp.float32)
        bias = self.param("bias", init, (1,), jnp.float32)
        y = resize_conv3x3(x, kernel, size, "bicubic", padding=self.padding)
        return y + bias.reshape(1, 1, 1, 1)


def smallest_input(strides: tuple[int, ...]) -> int:
    """The smallest image side for which every encoder layer has at least one output."""
    side = 1
    for stride in reversed(strides):
        side = (side - 1) * stride + _KERNEL - 2 * _PAD
    return side


def check_batch(batch: int, axis_name: str | None) -> None:
    """InputError where a training batch has one image over all devices of `axis_name`."""
    # At the end of the encoder an image is one pixel: batch norm needs two of them.
    total = batch * (1 if axis_name is None else jax.lax.psum(1, axis_name))
    if total < 2:
        raise InputError("PIH trains on batches of at least 2 images (batch norm of 1x1)")


def to_gain(logits: Array, offset: float) -> Array:
    """Gain in [offset, 1]."""
    return offset + (1 - offset) * jax.nn.sigmoid(logits)

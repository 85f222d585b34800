"""MobileNetV3-Small: a network for images that is light enough for phones.

Source: Howard et al., Searching for MobileNetV3, arXiv 1905.02244, table 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.conv import he_conv
from jaxharm.nn.depthwise import DepthwiseConv
from jaxharm.nn.dropout import Dropout
from jaxharm.nn.init import he_normal_fan_out
from jaxharm.nn.norm import BatchNorm

_linear = partial(nn.Dense, kernel_init=nn.initializers.normal(0.01))


@dataclass(frozen=True)
class BlockSpec:
    """One block: a row of the paper's table."""

    kernel: int
    expansion: float
    out: int
    squeeze: bool
    hard_swish: bool
    stride: int


BLOCKS = (
    BlockSpec(3, 1.0, 16, True, False, 2),
    BlockSpec(3, 4.5, 24, False, False, 2),
    BlockSpec(3, 3.67, 24, False, False, 1),
    BlockSpec(5, 4.0, 40, True, True, 2),
    BlockSpec(5, 6.0, 40, True, True, 1),
    BlockSpec(5, 6.0, 40, True, True, 1),
    BlockSpec(5, 3.0, 48, True, True, 1),
    BlockSpec(5, 3.0, 48, True, True, 1),
    BlockSpec(5, 6.0, 96, True, True, 2),
    BlockSpec(5, 6.0, 96, True, True, 1),
    BlockSpec(5, 6.0, 96, True, True, 1),
)


def make_divisible(value: float) -> int:
    """The multiple of 8 nearest to `value`, at least 8 and at least 0.9 of it."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the means of all channels."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """f[b,h,w,c] -> the same shape."""
        channels = x.shape[-1]
        # float32: a mean over a large map loses its digits in bfloat16.
        gate = jnp.mean(x.astype(jnp.float32), (1, 2))
        gate = nn.relu(_linear(make_divisible(channels // 4), name="squeeze")(gate))
        gate = nn.hard_sigmoid(_linear(channels, name="excite")(gate))
        return x * gate[:, None, None, :].astype(x.dtype)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-and-excite, projection.

    Where `hidden` equals the input's channels there is no expansion, and the activation stands
    before the squeeze-and-excite instead of after it, as in the implementation that PIH used.
    """

    hidden: int
    out: int
    spec: BlockSpec
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[b,h,w,c] -> f[b,h/stride,w/stride,out]."""
        norm = partial(BatchNorm, self.axis_name)
        act: Callable[[Array], Array] = nn.hard_swish if self.spec.hard_swish else nn.relu
        expand = self.hidden != x.shape[-1]
        y = x
        if expand:
            y = he_conv(self.hidden, 1, 1, name="expand", dtype=self.dtype)(y)
            y = act(norm(name="expand_bn")(y, train=train))
        y = DepthwiseConv(
            self.spec.kernel,
            self.spec.stride,
            he_normal_fan_out(self.spec.kernel, self.hidden),
            self.dtype,
            name="depthwise",
        )(y)
        y = norm(name="depthwise_bn")(y, train=train)
        if not expand:
            y = act(y)
        if self.spec.squeeze:
            y = SqueezeExcite(self.dtype, name="se")(y)
        if expand:
            y = act(y)
        y = he_conv(self.out, 1, 1, name="project", dtype=self.dtype)(y)
        y = norm(name="project_bn")(y, train=train)
        return x + y if self.spec.stride == 1 and x.shape[-1] == self.out else y


class MobileNetV3Small(nn.Module):
    """The whole network with a linear head.

    Attributes:
        features: outputs of the head.
        width: factor on all channel counts.
        blocks: the rows of `BLOCKS` that are used; None: all.
        hidden: width of the layer before the head.
        dropout: rate before the head, in training.
        axis_name: mapped axis of the batch statistics and of the dropout.
        dtype: of the convolutions.
    """

    features: int
    width: float = 1.0
    blocks: tuple[int, ...] | None = None
    hidden: int = 1024
    dropout: float = 0.2
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[b,h,w,c] -> f32[b,features], no final activation."""
        norm = partial(BatchNorm, self.axis_name)
        channels = make_divisible(16 * self.width)
        x = he_conv(channels, 3, 2, name="stem", dtype=self.dtype)(x.astype(self.dtype))
        x = nn.hard_swish(norm(name="stem_bn")(x, train=train))
        for index in range(len(BLOCKS)) if self.blocks is None else self.blocks:
            spec = BLOCKS[index]
            hidden = make_divisible(channels * spec.expansion)
            channels = make_divisible(spec.out * self.width)
            x = InvertedResidual(
                hidden, channels, spec, self.axis_name, self.dtype, name=f"block{index}"
            )(x, train=train)
        x = he_conv(hidden, 1, 1, name="tail", dtype=self.dtype)(x)
        x = nn.hard_swish(norm(name="tail_bn")(x, train=train))
        x = jnp.mean(x.astype(jnp.float32), (1, 2))
        x = nn.hard_swish(_linear(self.hidden, name="fc1")(x))
        x = Dropout(self.dropout, self.axis_name, name="dropout")(x, train=train)
        return _linear(self.features, name="fc2")(x)

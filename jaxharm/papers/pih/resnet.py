"""ResNet with bottleneck blocks, stride on the 3x3 convolution ("v1.5").

Source: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.conv import he_conv
from jaxharm.nn.init import uniform_fan_in
from jaxharm.nn.norm import BatchNorm

RESNET50 = (3, 4, 6, 3)  # bottlenecks of the four stages
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1 to `width`, 3x3 with `stride`, 1x1 to 4*`width`, plus the shortcut.

    The shortcut is a 1x1 convolution and a norm if `project`, else the identity.
    """

    width: int
    stride: int
    project: bool
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[b,h,w,c] -> f[b,h/stride,w/stride,4*width]."""
        norm = partial(BatchNorm, self.axis_name)
        out = _EXPANSION * self.width
        y = he_conv(self.width, 1, 1, name="conv1", dtype=self.dtype)(x)
        y = nn.relu(norm(name="bn1")(y, train=train))
        y = he_conv(self.width, 3, self.stride, name="conv2", dtype=self.dtype)(y)
        y = nn.relu(norm(name="bn2")(y, train=train))
        y = norm(name="bn3")(he_conv(out, 1, 1, name="conv3", dtype=self.dtype)(y), train=train)
        if self.project:
            x = he_conv(out, 1, self.stride, name="proj", dtype=self.dtype)(x)
            x = norm(name="proj_bn")(x, train=train)
        return nn.relu(y + x)


class ResNet(nn.Module):
    """Stem, four stages of bottlenecks, global mean, linear head.

    Attributes:
        features: outputs of the head.
        width: channels of the stem and width of the first stage; doubles from stage to stage.
        blocks: bottlenecks of each stage.
        axis_name: mapped axis of the batch statistics.
        dtype: of the convolutions.
    """

    features: int
    width: int = 64
    blocks: tuple[int, ...] = RESNET50
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[b,h,w,c] -> f32[b,features], no final activation."""
        x = he_conv(self.width, 7, 2, name="stem", dtype=self.dtype)(x.astype(self.dtype))
        x = nn.relu(BatchNorm(self.axis_name, name="stem_bn")(x, train=train))
        # Padded here, as the converter to ONNX leaves the padding of a pool out.
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
        x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                x = Bottleneck(
                    self.width * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    project=block == 0,
                    axis_name=self.axis_name,
                    dtype=self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train=train)
        # float32: a mean over a large map loses its digits in bfloat16.
        x = jnp.mean(x.astype(jnp.float32), (1, 2))
        init = uniform_fan_in(x.shape[-1])
        return nn.Dense(self.features, kernel_init=init, bias_init=init, name="head")(x)

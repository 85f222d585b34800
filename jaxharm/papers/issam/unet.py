"""The U-Net of iSSAM, in pieces: encoder and decoder blocks, the image-fusion head.

The bottleneck is the last encoder block; decoder block 0 is the deepest. Source:
docs/papers/issam.md, "Network" (arXiv 2006.00809, its improved configuration).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.fields import Count, Natural, Range, Share, check_fields
from jaxharm.interfaces import Array, Output
from jaxharm.nn.conv import Conv
from jaxharm.nn.init import Initializer, xavier_normal
from jaxharm.nn.norm import BatchNorm
from jaxharm.nn.resample import resize
from jaxharm.nn.upsample_conv import upsample_conv3x3
from jaxharm.papers.issam.ssam import SpatialSeparatedAttention

_SHARPNESS = 3.0  # of the fusion gate


@dataclass(frozen=True)
class UNetConfig:
    """Options of the backbone; defaults are those of the 256x256 configuration of iSSAM.

    Attributes:
        depth: number of encoder blocks; the image is halved between them.
        base_channels: channels of the first block; each block doubles them.
        max_channels: bound of that doubling.
        batch_norm_from: first encoder block with batch normalization; every decoder block has it.
        ssam: whether decoder blocks have attention.
        attend_from: first decoder block with attention.
        attention_mid: channels inside the attention's learned path, as a share of its input's.
        random_blur_init: the blur of the attention's mask starts as noise instead of a Gaussian,
            as the official initializer leaves it (a defect, but trained models carry it).
        image_fusion: whether a gate blends the composite with the decoder's colors; if not, the
            output is the colors alone.
        residual_output: whether the decoder predicts changes of the composite's colors, starting at
            zero, instead of colors (ours: short runs on little data start from the identity).
        flip_average: whether the image, outside of training, is the mean of two predictions: of the
            composite, and of its mirror image, mirrored back (the release's test-time flip, off by
            default there too). It costs twice the time and memory and fits all weights.
        trained_size: side of the training images.
    """

    depth: Annotated[int, Range(at_least=2)] = 4
    base_channels: Count = 32
    max_channels: Count = 512
    batch_norm_from: Natural = 2
    ssam: bool = True
    attend_from: Natural = 2
    attention_mid: Share = 0.5
    random_blur_init: bool = False
    image_fusion: bool = True
    residual_output: bool = False
    flip_average: bool = False
    trained_size: Count = 256

    def __post_init__(self) -> None:
        check_fields(self)
        kind = type(self).__name__
        if self.max_channels < self.base_channels:
            raise InputError(
                f"{kind}.base_channels={self.base_channels} must be at most "
                f"max_channels={self.max_channels}"
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the encoder blocks, finest first."""
        return tuple(min(self.base_channels << i, self.max_channels) for i in range(self.depth))

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this."""
        # Each halving must be exact, or the enlarged feature would not fit the skip feature.
        return 1 << (self.depth - 1)

    @property
    def min_size(self) -> int:
        """The smallest side: one pixel at the bottleneck."""
        return self.size_multiple

    @property
    def default_size(self) -> int:
        """The side the network is meant for."""
        return self.trained_size


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with optional batch normalization and a ReLU.

    Attributes:
        features: output channels of both.
        batch_norm: whether the convolutions are normalized (they keep their biases).
        axis_name: of the batch statistics.
        dtype: of the arithmetic.
    """

    features: int
    batch_norm: bool
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, *inputs: Array, train: bool) -> Array:
        """f[b,h,w,c], or several of them in place of their concatenation -> f[b,h,w,features]."""
        x = inputs
        for i in (0, 1):
            # Several inputs go into the convolution as they are: their concatenation is never made.
            y = _conv3x3(self.features, self.dtype, f"conv{i}")(*x)
            if self.batch_norm:
                y = BatchNorm(axis_name=self.axis_name, name=f"bn{i}")(y, train=train)
            x = (nn.relu(y),)
        return x[0]


class UpConv(nn.Module):
    """Doubles the size (bilinear, aligned corners), then 3x3 convolution and ReLU.

    Attributes:
        features: output channels.
        dtype: of the arithmetic.
    """

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """f[b,h,w,c] -> f[b,2h,2w,features]."""
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", xavier_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        # Not a `Conv` layer on an enlarged input: on CPU the joint form takes a third of the time.
        y = upsample_conv3x3(x.astype(self.dtype), kernel.astype(self.dtype))
        return nn.relu(y + bias.astype(self.dtype).reshape(1, 1, 1, -1))


class DecoderBlock(nn.Module):
    """Attention, if the config has it at this block, then two convolutions.

    Attributes:
        index: 0 is the deepest.
        config: options.
        axis_name: of the batch statistics.
        dtype: of the arithmetic.
    """

    index: int
    config: UNetConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, *inputs: Array, mask: Array, train: bool) -> Array:
        """Skip feature and enlarged feature f[b,h,w,*], mask f32[b,h,w,1] -> f[b,h,w,c']."""
        config = self.config
        if config.ssam and self.index >= config.attend_from:
            attention = SpatialSeparatedAttention(
                config.attention_mid,
                config.random_blur_init,
                self.axis_name,
                self.dtype,
                name="attention",
            )
            # The gates need all channels in one map, so here the concatenation is made.
            inputs = (attention(jnp.concatenate(inputs, -1), mask, train=train),)
        features = config.channels[config.depth - 2 - self.index]
        convs = DoubleConv(features, True, self.axis_name, self.dtype, name="convs")
        return convs(*inputs, train=train)


class FusionHead(nn.Module):
    """Colors, and the gate that blends them with the composite.

    Attributes:
        image_fusion: whether there is a gate.
        residual: whether the colors are changes of the image's, which start at zero.
        dtype: of the convolutions; the blend is float32.
    """

    image_fusion: bool
    residual: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, image: Array) -> Array:
        """f[b,h,w,c], f32[b,h,w,3] -> f32[b,h,w,3], in the color space of `image`."""
        start = nn.initializers.zeros if self.residual else xavier_normal()
        rgb = self._conv1x1(3, "to_rgb", start)(x).astype(jnp.float32)
        # Float32 from here on: the blend would lose the image's last bits in bfloat16.
        if self.residual:
            rgb = image + rgb
        self.sow("intermediates", "rgb", rgb)
        if not self.image_fusion:
            return rgb
        logit = self._conv1x1(1, "gate", xavier_normal())(x).astype(jnp.float32)
        self.sow("intermediates", "logit", logit)
        gate = nn.sigmoid(_SHARPNESS * logit)  # the release's factor makes gates closer to 0 or 1
        return gate * image + (1 - gate) * rgb

    def _conv1x1(self, features: int, name: str, kernel_init: Initializer) -> Conv:
        return Conv(
            features,
            1,
            dtype=self.dtype,
            kernel_init=kernel_init,
            bias_init=nn.initializers.zeros,
            name=name,
        )


def masks_per_level(mask: Array, depth: int) -> list[Array]:
    """The mask f32[b,h,w,1] at each encoder block's size, finest first (bilinear, aligned corners)."""
    height, width = mask.shape[1:3]
    return [mask, *(resize(mask, (height >> i, width >> i), "aligned") for i in range(1, depth))]


def with_mirrored(image: Array) -> Array:
    """f[b,h,w,c] -> f[2b,h,w,c]: the batch, then its mirror images."""
    return jnp.concatenate([image, image[:, :, ::-1]])


def flip_averaged(raw: Array, aux: Mapping[str, object]) -> Output:
    """The output for a batch of what the network made of `with_mirrored` of it.

    Args:
        raw: f32[2b,h,w,3], not clipped.
        aux: what explains the prediction, leaves [2b,...]; that of the mirror images is dropped.
    """
    batch = len(raw) // 2
    raw = (raw[:batch] + raw[batch:, :, ::-1]) / 2
    kept: dict[str, object] = jax.tree.map(lambda leaf: leaf[:batch], dict(aux))
    return Output(jnp.clip(raw, 0, 1), kept | {"raw": raw})


def check_inputs(name: str, config: UNetConfig, composite: Array, mask: Array) -> None:
    """Raises InputError unless the arrays fit each other and the network's strides."""
    if composite.ndim != 4 or composite.shape[-1] != 3 or mask.shape != (*composite.shape[:3], 1):
        raise InputError(
            f"{name}: composite is {list(composite.shape)} and mask {list(mask.shape)}, "
            "not [b,h,w,3] and [b,h,w,1]"
        )
    height, width = composite.shape[1:3]
    multiple = config.size_multiple
    if height % multiple or width % multiple or height < config.min_size or width < config.min_size:
        raise InputError(
            f"{name} needs sides that are multiples of {multiple} and at least {config.min_size}, "
            f"not {height}x{width}"
        )


def _conv3x3(features: int, dtype: DTypeLike, name: str) -> Conv:
    return Conv(
        features,
        3,
        padding=1,
        dtype=dtype,
        kernel_init=xavier_normal(),
        bias_init=nn.initializers.zeros,
        name=name,
    )

"""Says for every pixel how real it looks: a U-Net with spectral normalization.

It sees the image alone, neither mask nor background. 17,477,201 parameters at width 16, all of them
used. Source: docs/papers/pih.md, "Losses".
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.fields import Count, check_fields
from jaxharm.interfaces import Array
from jaxharm.nn.conv import Conv
from jaxharm.nn.resample import resize
from jaxharm.papers.pih.shading import ENCODER, smallest_input
from jaxharm.papers.pih.spectral_norm import SpectralConv

# Decoder layer -> the encoder layer to whose size it is enlarged, and whether that one is added.
DECODER = (
    ("conv4_1", "conv3_2", True),
    ("conv4_2", "conv3_1", True),
    ("conv4_3", "conv3", False),
    ("conv4", "conv2", False),
    ("conv5", "conv1", False),
    ("conv6", "conv0", False),
)
# Encoder strides from the paper's for 512x512 images down to what a 64x64 image can take; the
# second is the paper's for 256x256.
_STRIDES = ((4, 4, 4, 2, 2, 2), (2, 4, 4, 2, 2, 2), (2, 2, 4, 2, 2, 2), (2,) * 6)


@dataclass(frozen=True)
class PIHDiscriminatorConfig:
    """Options; defaults are the paper's.

    Attributes:
        width: channels of the first layer.
        strides: of the six encoder layers; None: (4, 4, 4, 2, 2, 2), with as many of the first
            three lowered to 2 as the image needs (from 470 pixels none, from 236 one as in the
            paper's low-resolution training, from 120 two, from 64 three).
    """

    width: Count = 16
    strides: tuple[Count, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.strides is not None and len(self.strides) != len(ENCODER):
            raise InputError(
                f"PIHDiscriminatorConfig.strides={self.strides}: six strides are needed"
            )

    @classmethod
    def tiny(cls) -> "PIHDiscriminatorConfig":
        """Every kind of block, at 64x64."""
        return cls().shrunk()

    def shrunk(self) -> "PIHDiscriminatorConfig":
        """The same with few channels, and strides that the image decides."""
        return replace(self, width=2, strides=None)

    @property
    def min_size(self) -> int:
        """The smallest image side it can take."""
        return smallest_input(self.strides or _STRIDES[-1])

    def strides_for(self, side: int) -> tuple[int, ...]:
        """The strides for images whose smaller side is `side`; InputError where none fit."""
        choices = _STRIDES if self.strides is None else (self.strides,)
        for strides in choices:
            if side >= smallest_input(strides):
                return strides
        raise InputError(
            f"PIH's discriminator needs images of at least {self.min_size} pixels, not {side}: "
            "set data.image_size, or strides of the discriminator"
        )


class PIHDiscriminator(nn.Module):
    """Logits per pixel, high where the image looks real.

    Attributes:
        config: options.
        dtype: of the convolutions; spectral norms are float32.
    """

    config: PIHDiscriminatorConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Rates every pixel of a batch of images.

        Args:
            image: f32[b,h,w,3] in [0,1].
            train: whether the spectral norms take a power iteration (collection "spectral").

        Returns:
            f32[b,h,w,1].

        Raises:
            InputError: the image is too small.
        """
        features = self.config.width
        y = _leaky(Conv(features, 3, padding=1, dtype=self.dtype, name="conv0")(image))
        encoded = {"conv0": y}
        strides = self.config.strides_for(min(image.shape[1:3]))
        for name, stride in zip(ENCODER, strides, strict=True):
            features *= 2
            y = self._layer(name, y, features, 4, stride, train)
            encoded[name] = y
        for name, level, skip in DECODER:
            features //= 2
            height, width = encoded[level].shape[1:3]
            y = self._layer(name, resize(y, (height, width), "bilinear"), features, 3, 1, train)
            if skip:
                y = y + encoded[level]
        for name in ("conv7", "conv8"):
            y = self._layer(name, y, features, 3, 1, train)
        logits = Conv(1, 3, padding=1, dtype=self.dtype, name="conv9")(y)
        return logits.astype(jnp.float32)

    def _layer(
        self, name: str, x: Array, features: int, kernel: int, stride: int, train: bool
    ) -> Array:
        conv = SpectralConv(features, kernel, stride, padding=1, dtype=self.dtype, name=name)
        return _leaky(conv(x, train=train))


def _leaky(x: Array) -> Array:
    return nn.leaky_relu(x, 0.2)

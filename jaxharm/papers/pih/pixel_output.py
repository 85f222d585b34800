"""Predicts pixels in place of curves and a shading map: the other side of one of PIH's ablations.

The paper's claim is that parametric output keeps photographs intact where pixel output does not. Its
network for that comparison was not described; this is ours: the shading net (shading.py), whose
decoder climbs back to the full size as that of the official code does where its options `brush` and
`onlyupsample` are off. The losses and the two streams are PIH's.

Inputs and outputs are in [0,1], sRGB-encoded, without any normalization. 69,903,011 parameters.
Choices of ours: all skips are added, and the result is blended over the composite.
"""

from dataclasses import dataclass, replace
from typing import Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.fields import Count, check_fields
from jaxharm.interfaces import Array, Output
from jaxharm.nn.conv import Conv
from jaxharm.nn.resample import resize
from jaxharm.papers.pih.model import PIHConfig
from jaxharm.papers.pih.plate import fill_plate
from jaxharm.papers.pih.shading import ENCODER, ConvNorm, check_batch, smallest_input
from jaxharm.papers.pih.system import PIHSystem

_KERNEL = 4  # of the encoder's convolutions


@dataclass(frozen=True)
class PIHPixelsConfig:
    """Options of the network; the defaults are the sizes of PIH's shading net.

    Attributes:
        width: channels of the first layer; each of the six after it doubles them.
        strides: of those six.
        residual_output: whether the network predicts changes of the composite's colors, starting at
            zero, in place of colors.
        trained_size: side of the training images.
    """

    width: Count = 32
    strides: tuple[Count, ...] = (4, 4, 2, 4, 2, 2)
    residual_output: bool = False
    trained_size: Count = 512

    def __post_init__(self) -> None:
        check_fields(self)
        if len(self.strides) != len(ENCODER):
            raise InputError(f"PIHPixelsConfig.strides={self.strides}: six strides are needed")

    @classmethod
    def like(cls, config: PIHConfig) -> Self:
        """The network with the sizes of that config's shading net."""
        return cls(
            width=config.shading_width or (8 if config.light else 32),
            strides=config.strides,
            residual_output=config.identity_start,
            trained_size=config.default_size,
        )

    @classmethod
    def tiny(cls) -> Self:
        """Every kind of block, at 64x64."""
        return cls().shrunk()

    def shrunk(self) -> Self:
        """The same choices with few channels, for 64x64 images."""
        return replace(self, width=2, strides=(2,) * 6, trained_size=64)

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this."""
        return 1

    @property
    def min_size(self) -> int:
        """The smallest side that the encoder can take."""
        return smallest_input(self.strides)

    @property
    def default_size(self) -> int:
        """The side the network is meant for."""
        return self.trained_size


class PIHPixels(nn.Module):
    """Harmonizes by a U-Net that gives colors.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch statistics, or None.
        dtype: of the convolutions; the blend is float32.
    """

    config: PIHPixelsConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, composite: Array, mask: Array, background: Array | None = None, *, train: bool = False
    ) -> Output:
        """Harmonizes the foreground.

        Args:
            composite: f32[b,h,w,3] in [0,1].
            mask: f32[b,h,w,1] in [0,1], 1 = foreground.
            background: f32[b,h,w,3] in [0,1], the plate without the foreground object; None: filled
                in by `fill_plate`.
            train: batch statistics of this batch instead of the running ones.

        Returns:
            Output; aux: raw f32[b,h,w,3], the network's colors before blending.

        Raises:
            InputError: images below `config.min_size`, or a training batch of 1.
        """
        config = self.config
        batch, height, width, _ = composite.shape
        if height < config.min_size or width < config.min_size:
            raise InputError(
                f"PIH with these strides needs sides of at least {config.min_size} pixels, "
                f"not {height}x{width}"
            )
        if train and not self.is_initializing():
            check_batch(batch, self.axis_name)
        if background is None:
            background = fill_plate(composite, mask)
        x = self._features(jnp.concatenate([composite, background, mask], -1), train)
        # Zeros at first, where the network starts as the identity; else as PyTorch starts a layer.
        start = nn.initializers.zeros if config.residual_output else None
        colors = Conv(
            3, 3, padding=1, dtype=self.dtype, kernel_init=start, bias_init=start, name="out"
        )(x)
        colors = colors.astype(jnp.float32)
        raw = composite + colors if config.residual_output else jax.nn.sigmoid(colors)
        return Output(composite + mask * (raw - composite), {"raw": raw})

    def _features(self, x: Array, train: bool) -> Array:
        """f[b,h,w,7] -> f[b,h,w,width]."""
        config, axis = self.config, self.axis_name
        x = nn.relu(Conv(config.width, 3, padding=1, dtype=self.dtype, name="conv0")(x))
        features, skips = config.width, []
        for name, stride in zip(ENCODER, config.strides, strict=True):
            skips.append(x)
            features *= 2
            x = ConvNorm(features, _KERNEL, stride, axis, self.dtype, name=name)(x, train=train)
        for name, skip in zip(reversed(ENCODER), reversed(skips), strict=True):
            features //= 2
            size = (skip.shape[1], skip.shape[2])
            x = resize(x, size, "bilinear")
            up = ConvNorm(features, 3, 1, axis, self.dtype, name=f"up_{name}")
            x = up(x, train=train) + skip
        return x


class PIHPixelsSystem(PIHSystem):
    """PIH's training of the network that gives pixels."""

    MODEL = PIHPixels

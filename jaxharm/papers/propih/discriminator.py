"""Says which of 4x4 cells of an image hold a pasted object: the discriminator.

Every convolution but the last is followed by batch normalization with the statistics of that very
call. There are no running statistics: the official ones are never used, since the discriminator is
never in evaluation mode. 7,055,233 parameters. Source: docs/papers/propih.md, "Losses".
"""

import dataclasses
from dataclasses import dataclass

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.fields import Count, Decay, check_fields
from jaxharm.interfaces import Array
from jaxharm.nn.conv import Conv
from jaxharm.nn.init import normal_around
from jaxharm.nn.norm import BatchNorm


@dataclass(frozen=True)
class ProPIHDiscriminatorConfig:
    """Options; defaults are the official ones.

    Attributes:
        width: channels of the first two blocks; doubled every two blocks.
        halvings: blocks that halve the image; a cell has 2^halvings pixels a side. Training sets
            it by the size of its images (`fitted`).
        object_share: a cell holds an object if more than this share of its pixels is fully inside
            of the mask.
    """

    width: Count = 64
    halvings: Count = 6
    object_share: Decay = 100 / 64**2

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def tiny(cls) -> "ProPIHDiscriminatorConfig":
        """The same blocks for 64x64 images."""
        return cls(halvings=4).shrunk()

    def shrunk(self) -> "ProPIHDiscriminatorConfig":
        """The same with few channels; the image decides the halvings (`fitted`)."""
        return dataclasses.replace(self, width=2)

    def fitted(self, side: int) -> "ProPIHDiscriminatorConfig":
        """The same for images of this side; InputError unless four cells fill it."""
        halvings = (side // 4).bit_length() - 1
        if halvings < 1 or side != 4 * 2**halvings:
            raise InputError(
                f"ProPIH's discriminator rates 4x4 cells, and images of {side} pixels a side have "
                "none: set data.image_size to 256 (or 64, 128, 512), or "
                "objective.discriminator=none"
            )
        return dataclasses.replace(self, halvings=halvings)

    @property
    def size(self) -> int:
        """Side of the images that it rates: four cells."""
        return 4 * 2**self.halvings

    @property
    def min_size(self) -> int:
        """Side of an image that it can be made with."""
        return self.size


class ProPIHDiscriminator(nn.Module):
    """One number per cell: 1 for an object, 0 for painting.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch statistics; None: each device's own.
        dtype: of the convolutions; statistics and the result are float32.
    """

    config: ProPIHDiscriminatorConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Array, *, train: bool = True) -> Array:
        """Rates the cells of a batch of images.

        Args:
            image: f32[b,s,s,3] in the [0,1] scale, s = `config.size`.
            train: makes no difference.

        Returns:
            f32[b,4,4,1].

        Raises:
            InputError: another size: the target of other sizes is not defined.
        """
        del train
        config, side = self.config, self.config.size
        if image.shape[1:3] != (side, side):
            raise InputError(
                f"ProPIH's discriminator takes {side}x{side} images, not {image.shape[1]}x"
                f"{image.shape[2]}"
            )
        x = image * 2 - 1
        halving = [config.width * 2 ** (i // 2) for i in range(config.halvings)]
        widest = halving[-1]
        for i, features in enumerate(halving):
            x = self._block(f"block{i}", x, features, 4, 2)
        for i, padding in enumerate((1, 0), config.halvings):
            x = self._block(f"block{i}", x, 2 * widest, 3, padding=padding)
        # From 2x2 cells back to 4x4: the convolution without padding before has lost two.
        x = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
        for i, features in enumerate((widest, widest // 2)):
            x = self._block(f"dec{i}", x, features, 3, slope=0.0)
        return _conv(1, 1, 1, 0, self.dtype, "out")(x).astype(jnp.float32)

    def _block(
        self,
        name: str,
        x: Array,
        features: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int = 1,
        slope: float = 0.2,
    ) -> Array:
        block = _Block(features, kernel, stride, padding, self.axis_name, self.dtype, name=name)
        return nn.leaky_relu(block(x), slope)


class _Block(nn.Module):
    """A convolution and its normalization."""

    features: int
    kernel: int
    stride: int
    padding: int
    axis_name: str | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = _conv(self.features, self.kernel, self.stride, self.padding, self.dtype, "conv")(x)
        norm = BatchNorm(
            self.axis_name, keep_running=False, scale_init=normal_around(1, 0.02), name="bn"
        )
        normalized: Array = norm(x, train=True)
        return normalized


def _conv(
    features: int, kernel: int, stride: int, padding: int, dtype: DTypeLike, name: str
) -> Conv:
    return Conv(
        features,
        kernel,
        stride,
        padding,
        dtype=dtype,
        kernel_init=normal_around(0, 0.02),
        bias_init=nn.initializers.zeros,
        name=name,
    )


def object_cells(mask: Array, config: ProPIHDiscriminatorConfig) -> Array:
    """The discriminator's target for composites: which cells hold an object.

    Args:
        mask: f32[b,s,s,1] in [0,1], made of 8 bits. Only pixels of 255 count.
        config: of the discriminator; s = `config.size`.

    Returns:
        f32[b,4,4,1] of 0 and 1.
    """
    side = 2**config.halvings
    inside = mask > 254.5 / 255  # a resized mask of ones may be off by a rounding
    count, height, width, _ = mask.shape
    cells = inside.reshape(count, height // side, side, width // side, side, 1)
    share = jnp.mean(cells.astype(jnp.float32), (2, 4))  # exact: sums of ones over a power of two
    return (share > config.object_share).astype(jnp.float32)

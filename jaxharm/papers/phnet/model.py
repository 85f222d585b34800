"""PHNet: Patch-based Normalization for Portrait Harmonization (arXiv 2402.17561).

A U-shaped convolutional network of stride 8 predicts a whole image; the foreground of that image is
blended over the composite. Blocks:

- encoder: six `EncoderLayer` (convolution, instance normalization, ReLU) on the RGB composite;
- bottleneck: `PatchFeatureExtractor` (PFE) and `SqueezeExcitation` in bottleneck.py;
- decoder: six `DecoderStep`; the last ones normalize their skip feature by `PatchNorm` (PN).

Input and output are in [0,1], sRGB-encoded, without any normalization. Parameters: 39,921,456
(phnet_ffhqh), 9,994,110 (phnet_iharmony4). The official state dicts hold 185 more, of a PN block
and a fusion convolution that never run; they are not created here.

The release has properties that the paper does not describe and its weights need, all kept: the mask
is no input channel; PFE statistics count the zeros of the other region; PFE's head sees the
background divided by 255; the patch part of PN is one weighted background mean per channel,
initially c times too small. `grid_weights_init="mean"` and `pfe_background_divisor` undo the last
two. Source: docs/papers/phnet.md.
"""

from dataclasses import dataclass, replace
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.fields import Count, Natural, Positive, check_fields
from jaxharm.interfaces import Array, Output
from jaxharm.nn.conv import Conv, ConvTranspose
from jaxharm.nn.norm import BatchNorm, instance_norm
from jaxharm.ops import patch_norm
from jaxharm.papers.phnet.bottleneck import PatchFeatureExtractor, SqueezeExcitation

STEPS = 6  # layers of the encoder, steps of the decoder
BATCH_NORM_STEPS = 3  # of the decoder, from the bottleneck
_STRIDE = 8
_GRID_BEFORE = 4  # patches a side at steps that have no PN block in the release


@dataclass(frozen=True)
class PHNetConfig:
    """Options; defaults are those of the released FFHQH configuration.

    Attributes:
        channels: of the image and of the six encoder layers.
        grid_counts: patches per side of the PN blocks, coarsest feature first. The last entry
            belongs to a block that never runs; the second is also the grid of the PFE.
        pn_steps: decoder steps that have a PN block, 0 (bottleneck) to 5 (image); None: the last ones,
            as many as `grid_counts` has for. A step before these, where features are small, takes at
            most 4 patches a side. (The paper varies number and place.)
        pfe: whether the bottleneck has the PFE's gate, one number per image.
        se: whether the bottleneck has squeeze-and-excitation's gates, one per channel.
        mix_init: initial weights of PN's whole-image and patch parts.
        scale_init: initial scale of PN's regions.
        grid_weights_init: patch weights start at 1/(g*g*c) ("official") or 1/(g*g) ("mean").
        pfe_mix_init: initial weights of PFE's patch and whole-image transfers.
        se_reduction: channel reduction of the squeeze-and-excitation gate.
        pn_eps: added to PN's mask sums and variances.
        pfe_eps: added to PFE's deviations.
        pfe_background_divisor: of the background that PFE's head sees.
        trained_size: side of the training images; results at others are not equivalent.
    """

    channels: tuple[Count, ...] = (3, 16, 64, 128, 256, 512, 1024)
    grid_counts: tuple[Count, ...] = (4, 3, 2, 1)
    pn_steps: tuple[Natural, ...] | None = None
    pfe: bool = True
    se: bool = True
    mix_init: tuple[float, float] = (0.5, 0.5)
    scale_init: float = 0.8
    grid_weights_init: Literal["official", "mean"] = "official"
    pfe_mix_init: tuple[float, float] = (0.9, 0.1)
    se_reduction: Count = 8
    pn_eps: Positive = 1e-7
    pfe_eps: Positive = 1e-8
    pfe_background_divisor: Positive = 255.0
    trained_size: Count = 256

    def __post_init__(self) -> None:
        check_fields(self)
        if len(self.channels) != STEPS + 1 or self.channels[0] != 3:
            raise InputError(
                f"PHNetConfig.channels={self.channels}: seven numbers are needed, the first 3"
            )
        if not 2 <= len(self.grid_counts) <= STEPS + 1:
            raise InputError(
                f"PHNetConfig.grid_counts={self.grid_counts}: two to seven numbers are needed"
            )
        steps = self.pn_steps or ()
        if len(set(steps)) < len(steps) or not set(steps) <= set(range(STEPS)):
            raise InputError(
                f"PHNetConfig.pn_steps={steps}: choose from the decoder steps 0 to {STEPS - 1}, each once"
            )
        if self.channels[-1] < self.se_reduction:
            raise InputError(
                f"PHNetConfig.se_reduction={self.se_reduction} exceeds the last of channels={self.channels}"
            )

    @classmethod
    def tiny(cls) -> "PHNetConfig":
        """Every code path in about fifty thousand parameters."""
        return cls().shrunk()

    def shrunk(self) -> "PHNetConfig":
        """The same choices with few channels."""
        return replace(self, channels=(3, 4, 8, 8, 16, 16, 32), trained_size=64)

    @property
    def pn_grids(self) -> dict[int, int]:
        """Decoder step -> grid of its PN block."""
        # The steps end before the last entry, whose block never runs.
        first = STEPS + 1 - len(self.grid_counts)
        steps = range(first, STEPS) if self.pn_steps is None else sorted(self.pn_steps)
        before = min(self.grid_counts[0], _GRID_BEFORE)
        return {step: self.grid_counts[step - first] if step >= first else before for step in steps}

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this."""
        return _STRIDE

    @property
    def min_size(self) -> int:
        """The smallest side."""
        return 64

    @property
    def default_size(self) -> int:
        """The side the network is meant for."""
        return self.trained_size


class EncoderLayer(nn.Module):
    """Convolution, instance normalization, ReLU.

    Attributes:
        features: output channels.
        stride: 2 (4x4 kernel) or 1 (3x3).
        dtype: of the arithmetic; statistics are float32.
    """

    features: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """f[b,h,w,c] -> f[b,h/stride,w/stride,features]."""
        # The bias has no effect before a normalization; it is here because the release has it.
        conv = Conv(
            self.features,
            kernel_size=4 if self.stride == 2 else 3,
            stride=self.stride,
            padding=1,
            dtype=self.dtype,
            name="conv",
        )
        return nn.relu(instance_norm(conv(x)))


class PatchNorm(nn.Module):
    """The PN block: `ops.patch_norm` with its parameters.

    Attributes:
        grid: patches per side.
        config: initial values and eps.
    """

    grid: int
    config: PHNetConfig

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """f[b,h,w,c], f[b,h,w,1] -> f[b,h,w,c]."""
        config, channels = self.config, x.shape[-1]
        # The release divides by the number of channels too, so its mean starts c times too small.
        patch_weight = 1.0 / self.grid**2
        if config.grid_weights_init == "official":
            patch_weight /= channels
        zeros, scale = nn.initializers.zeros, nn.initializers.constant(config.scale_init)
        params = {"weights": self.param("weights", lambda _: jnp.asarray(config.mix_init))}
        for region in ("fg", "patched_fg", "bg"):
            params[f"{region}_var"] = self.param(f"{region}_var", scale, (channels,), jnp.float32)
            params[f"{region}_bias"] = self.param(f"{region}_bias", zeros, (channels,), jnp.float32)
        params["grid_weights"] = self.param(
            "grid_weights",
            nn.initializers.constant(patch_weight),
            (self.grid, self.grid, channels),
            jnp.float32,
        )
        return patch_norm(x, mask, params, grid=self.grid, eps=config.pn_eps)


class DecoderStep(nn.Module):
    """One step of the decoder: fuses its feature with the skip feature, then enlarges or convolves.

    Attributes:
        step: 0 (bottleneck) to 5 (image).
        config: channels and PN grids.
        axis_name: of the batch statistics.
        dtype: of the arithmetic.
    """

    step: int
    config: PHNetConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, skip: Array, mask: Array, *, train: bool) -> Array:
        """f[b,h,w,c], the same, mask f[b,h,w,1] -> f[b,s*h,s*w,c'], s = 2 at odd steps, else 1."""
        step, config = self.step, self.config
        if step in config.pn_grids:
            skip = PatchNorm(config.pn_grids[step], config, name="norm")(skip, mask)
        # Two inputs instead of their concatenation, which would have to be kept for the gradient.
        fuse = Conv(
            skip.shape[-1], kernel_size=3, padding=1, use_bias=False, dtype=self.dtype, name="fuse"
        )
        x = nn.relu(fuse(x, skip))
        self.sow("intermediates", "fused", x)
        features = config.channels[STEPS - 1 - step]
        x = ConvTranspose(features, kernel_size=4 if step % 2 else 3, dtype=self.dtype, name="up")(
            x
        )
        if step < BATCH_NORM_STEPS:
            x = BatchNorm(axis_name=self.axis_name, name="bn")(x, train=train)
        return nn.leaky_relu(x, 0.01) if step < STEPS - 1 else x


class PHNet(nn.Module):
    """The network.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch statistics, or None.
        dtype: of the convolutions; statistics, PN, PFE and the output are float32.
    """

    config: PHNetConfig
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
            background: ignored.
            train: batch statistics of this batch instead of the running ones.

        Returns:
            Output; image is the composite with its foreground replaced; aux: raw f32[b,h,w,3],
            the network's whole image.

        Raises:
            InputError: sides that are no multiples of 8, or below 64.
        """
        del background
        _check_size(self.config, composite, mask)
        config = self.config
        image, mask = composite.astype(jnp.float32), mask.astype(jnp.float32)
        x = image.astype(self.dtype)
        skips, masks = [], [mask]
        for i in range(1, STEPS + 1):
            stride = 2 if i % 2 else 1
            layer = EncoderLayer(config.channels[i], stride, self.dtype, name=f"encoder{i}")
            x = layer(x)
            skips.append(x)
            # The even rows and columns, which are what nearest-neighbor resizing keeps.
            masks.append(masks[-1][:, ::stride, ::stride])
        features = None
        if config.pfe:
            extractor = PatchFeatureExtractor(
                config.grid_counts[1],
                config.pfe_mix_init,
                config.pfe_eps,
                config.pfe_background_divisor,
                self.dtype,
                name="pfe",
            )
            features = extractor(image, mask)[0]
        if config.pfe or config.se:
            reduction = config.se_reduction if config.se else None
            x = SqueezeExcitation(reduction, name="se")(x, features)
        for i in range(STEPS):
            step = DecoderStep(i, config, self.axis_name, self.dtype, name=f"decoder{i}")
            x = step(x, skips.pop(), masks[STEPS - i], train=train)
        raw = nn.sigmoid(x.astype(jnp.float32))
        return Output(image=raw * mask + image * (1 - mask), aux={"raw": raw})


def _check_size(config: PHNetConfig, composite: Array, mask: Array) -> None:
    if composite.ndim != 4 or composite.shape[-1] != 3 or mask.shape != (*composite.shape[:3], 1):
        raise InputError(
            f"PHNet: composite is {list(composite.shape)} and mask {list(mask.shape)}, "
            "not [b,h,w,3] and [b,h,w,1]"
        )
    height, width = composite.shape[1:3]
    multiple, smallest = config.size_multiple, config.min_size
    if height % multiple or width % multiple or height < smallest or width < smallest:
        raise InputError(
            f"PHNet needs sides that are multiples of {multiple} and at least {smallest}, "
            f"not {height}x{width}"
        )

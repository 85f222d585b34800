"""Predicts three color curves and a shading map at low resolution, and renders them at any.

PIH: Semi-supervised Parametric Real-world Image Harmonization (CVPR 2023, arXiv 2303.00157). Two
networks and a renderer without parameters:

1. curve net (ResNet-50, or MobileNetV3-Small if `light`) -> three curves of 32 knots;
2. curves applied to the composite, blended over the background -> intermediate image;
3. shading net -> a smooth gain map in [mask_offset, 1];
4. output = intermediate * gain * mask + (1-mask) * background.

Inputs and outputs are in [0,1], sRGB-encoded, without any normalization. Parameters: 93,235,073
(light: 5,964,857); the official state dicts hold 406,241 (25,529) more that are never used.

Deviations, all off by default: `identity_start`, `single_alpha`, `predict_size`,
`region_statistics`, `shading_padding="edge"`. The official code enlarges the shading net's last 256
channels before its output convolution; here the two linear steps are exchanged, with the same
result. Equations and choices: docs/papers/pih.md, "Network" and "Rendering".
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.fields import Count, Decay, Natural, Positive, Range, check_fields
from jaxharm.interfaces import Array, Output
from jaxharm.nn.resample import Padding
from jaxharm.ops import apply_curves
from jaxharm.papers.pih.mobilenet import MobileNetV3Small
from jaxharm.papers.pih.region_statistics import StatisticsNet, region_statistics
from jaxharm.papers.pih.resnet import RESNET50, ResNet
from jaxharm.papers.pih.shading import ShadingNet, check_batch, smallest_input, to_gain

# Added to the shading logits by `identity_start`: a gain within 1 % of 1 at mask_offset 0.5.
_OPEN_GAIN = 4.0


@dataclass(frozen=True)
class PIHConfig:
    """Options of the network; defaults are those of the paper's training script.

    Attributes:
        light: MobileNetV3-Small and a shading net of width 8 instead of ResNet-50 and 32.
        knots: of each curve.
        mask_offset: lower bound of the gain; the released weights are used with 0.6.
        masking: whether there is a shading stage.
        lowres: for 256x256 images: the shading net's first stride is 2 instead of 4.
        joint: whether the losses train the curve net; if not, its curves are constants.
        single_alpha: the foreground is un-premultiplied first and blended once, which avoids the
            dark rim of soft masks (ours; needs the background the composite was made with).
        identity_start: an untrained model returns nearly the composite: constants are added to
            both nets' logits (ours). Not compatible with official weights.
        predict_size: side to which both nets' inputs are resized (antialiased), whatever the size
            of the image that is rendered; None: they look at the image as given (ours; training
            on images of this size resizes nothing).
        region_statistics: color statistics of foreground and background, through two dense layers,
            are added to the curve net's logits (ours, for small data; more parameters, so that
            official weights do not fit).
        shading_width: channels of the shading net's first layer; None: 32, light 8.
        shading_strides: of its six encoder layers; None: (4, 4, 2, 4, 2, 2), with lowres 2 first, for
            a predict_size below 220 twice 2 first (for a 16x16 grid at 512, 256 and 128).
        shading_padding: what its output convolution sees beyond the border. The official "zero"
            frames the gain map by one pixel of another gain, which shows as a band once a map of
            64x64 is stretched over a photograph; "edge" continues the map (ours; fits all weights).
        curve_width: factor on the channels of the curve net.
        curve_blocks: blocks of the ResNet's four stages, None: (3, 4, 6, 3); light: the rows of
            MobileNetV3-Small's table that are used, None: all.
    """

    light: bool = False
    knots: Annotated[int, Range(at_least=2)] = 32
    mask_offset: Decay = 0.5
    masking: bool = True
    lowres: bool = False
    joint: bool = True
    single_alpha: bool = False
    identity_start: bool = False
    predict_size: Count | None = None
    region_statistics: bool = False
    shading_width: Count | None = None
    shading_strides: tuple[Count, ...] | None = None
    shading_padding: Padding = "zero"
    curve_width: Positive = 1.0
    curve_blocks: tuple[Natural, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.shading_strides is not None and len(self.shading_strides) != 6:
            raise InputError(
                f"PIHConfig.shading_strides={self.shading_strides}: six strides are needed"
            )
        smallest = smallest_input(self.strides) if self.masking else 1
        if self.predict_size is not None and self.predict_size < smallest:
            raise InputError(
                f"PIHConfig.predict_size={self.predict_size}: these strides need at least {smallest}"
            )

    @classmethod
    def tiny(cls, *, light: bool = False) -> "PIHConfig":
        """Every kind of block, at 64x64."""
        return cls(light=light).shrunk()

    def shrunk(self) -> "PIHConfig":
        """The same choices with few channels and blocks, for 64x64 images."""
        return replace(
            self,
            shading_width=2,
            shading_strides=(2,) * 6,
            curve_width=0.125,
            curve_blocks=(0, 1, 3, 4) if self.light else (2, 1),
            predict_size=None if self.predict_size is None else 64,
        )

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the shading net's encoder."""
        if self.shading_strides is not None:
            return self.shading_strides
        lowres = (2, 4, 2, 4, 2, 2)
        if self.predict_size is not None and self.predict_size < smallest_input(lowres):
            return (2, 2, 2, 4, 2, 2)
        return lowres if self.lowres else (4, 4, 2, 4, 2, 2)

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this."""
        return 1

    @property
    def min_size(self) -> int:
        """The smallest side the shading net can take (438; 220 with lowres)."""
        if not self.masking or self.predict_size is not None:
            return 1
        return smallest_input(self.strides)

    @property
    def default_size(self) -> int:
        """The side the networks are meant for (512; 256 with lowres)."""
        return self.predict_size or math.prod(self.strides)


class PIH(nn.Module):
    """Harmonizes by curves and shading: the generator of the paper.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch statistics and of the dropout, or None.
        dtype: of the convolutions; curves, gain and blending are float32.
    """

    config: PIHConfig
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
            background: f32[b,h,w,3] in [0,1], the plate without the foreground object.
            train: batch statistics and dropout of training; b of at least 2 over all devices.

        Returns:
            Output; aux: curves f32[b,3,knots], shading f32[b,h,w,1], intermediate f32[b,h,w,3],
            raw f32[b,h,w,3] (curves and gain applied to the whole composite).

        Raises:
            InputError: no background, images below `config.min_size`, or a training batch of 1.
        """
        config = self.config
        background = self._check(composite, background, train)
        seen = tuple(seen_at(config.predict_size, x) for x in (composite, mask, background))
        x = jnp.concatenate([seen[0], seen[2], seen[1]], -1)
        curves = self._curves(x, train)
        if not config.joint:
            curves = jax.lax.stop_gradient(curves)
        foreground = unblend(composite, mask, background) if config.single_alpha else composite
        intermediate = apply_curves(foreground, curves, mask=mask, background=background)
        shading = jnp.ones(mask.shape, jnp.float32)
        if config.masking:
            seen_intermediate = intermediate
            # With `predict_size` the shading net needs the intermediate image at its own size:
            # rendering it there is cheaper than shrinking the large one.
            if x.shape[1:3] != mask.shape[1:3]:
                seen_foreground = unblend(*seen) if config.single_alpha else seen[0]
                seen_intermediate = apply_curves(
                    seen_foreground, curves, mask=seen[1], background=seen[2]
                )
            x = jnp.concatenate([x, seen_intermediate], -1)
            shading = self._shading(x, (mask.shape[1], mask.shape[2]), train)
        # Without a mask: what the model would make of every pixel. XLA drops it where unused.
        raw = apply_curves(foreground, curves) * shading
        if config.single_alpha:
            image = raw * mask + (1 - mask) * background
        elif config.masking:
            image = intermediate * shading * mask + (1 - mask) * background
        else:
            image = intermediate
        aux = {"curves": curves, "shading": shading, "intermediate": intermediate, "raw": raw}
        return Output(image=image, aux=aux)

    def _curves(self, x: Array, train: bool) -> Array:
        """f[b,h,w,7] -> f32[b,3,knots] in (0,1)."""
        config, outputs = self.config, 3 * self.config.knots
        axis, name = self.axis_name, "curve_net"
        net: MobileNetV3Small | ResNet
        if config.light:
            net = MobileNetV3Small(
                outputs,
                config.curve_width,
                config.curve_blocks,
                axis_name=axis,
                dtype=self.dtype,
                name=name,
            )
        else:
            blocks = config.curve_blocks or RESNET50
            net = ResNet(
                outputs, round(64 * config.curve_width), blocks, axis, self.dtype, name=name
            )
        logits = net(x, train=train)
        if config.region_statistics:
            head = StatisticsNet(outputs, axis_name=self.axis_name, name="statistics_net")
            logits += head(region_statistics(x[..., :3], x[..., 6:]), train=train)
        logits = logits.reshape(-1, 3, config.knots)
        if config.identity_start:
            # A curve through its own knot positions is the identity (but for its flat ends).
            positions = (jnp.arange(config.knots, dtype=jnp.float32) + 0.5) / config.knots
            # The inverse of the sigmoid: logits near 0, as at the start, then give this curve.
            logits += jnp.log(positions / (1 - positions)).reshape(1, 1, -1)
        return jax.nn.sigmoid(logits)

    def _shading(self, x: Array, size: tuple[int, int], train: bool) -> Array:
        """f[b,*,*,10] -> f32[b,*size,1] in [mask_offset, 1]."""
        config = self.config
        logits = ShadingNet(
            config.shading_width or (8 if config.light else 32),
            config.strides,
            self.axis_name,
            self.dtype,
            config.shading_padding,
            name="shading_net",
        )(x, size, train=train)
        return to_gain(logits + (_OPEN_GAIN if config.identity_start else 0.0), config.mask_offset)

    def _check(self, composite: Array, background: Array | None, train: bool) -> Array:
        if background is None:
            raise InputError(
                "PIH needs the background plate without the foreground object: pass background=, "
                "or fill the hole with jaxharm.papers.pih.plate.fill_plate (jaxharm.harmonize does)"
            )
        batch, height, width, _ = composite.shape
        if height < self.config.min_size or width < self.config.min_size:
            raise InputError(
                f"PIH with these strides needs sides of at least {self.config.min_size} pixels, "
                f"not {height}x{width}"
            )
        if train and self.config.masking and not self.is_initializing():
            check_batch(batch, self.axis_name)
        return background


def render(
    composite: Array,
    curves: Array | None,
    mask: Array,
    background: Array,
    *,
    shading: Array | None = None,
    single_alpha: bool = False,
) -> Array:
    """Applies curves and shading to the foreground, at any resolution and on any tile of an image.

    Args:
        composite: f32[b,h,w,3] in [0,1].
        curves: f32[b,3,knots], `aux["curves"]`; None: colors stay as they are.
        mask: f32[b,h,w,1].
        background: f32[b,h,w,3].
        shading: f32[b,h,w,1], `aux["shading"]` enlarged; None without a shading stage.
        single_alpha: as in the config.

    Returns:
        f32[b,h,w,3]: the model's image.  Source: docs/papers/pih.md, "Rendering".
    """
    if not single_alpha and curves is not None:
        return apply_curves(composite, curves, mask=mask, background=background, shading=shading)
    gain = 1.0 if shading is None else shading
    foreground = unblend(composite, mask, background) if single_alpha else composite
    curved = foreground if curves is None else apply_curves(foreground, curves)
    if single_alpha:
        return curved * mask * gain + (1 - mask) * background
    intermediate = curved * mask + (1 - mask) * background
    return intermediate if shading is None else intermediate * gain * mask + (1 - mask) * background


def seen_at(side: int | None, image: Array) -> Array:
    """f[b,h,w,c] at the size that a network looks at; None: as it is."""
    if side is None or image.shape[1:3] == (side, side):
        return image
    shape = (image.shape[0], side, side, image.shape[-1])
    return jax.image.resize(image, shape, "linear", antialias=True)


def unblend(composite: Array, mask: Array, background: Array) -> Array:
    """The foreground F of composite = F*mask + (1-mask)*background, in [0,1]; where mask is 0, F = 0.

    Args and result: f32[b,h,w,3] in [0,1] (mask [b,h,w,1]).
    """
    # Below one 8-bit step of opacity nothing of the foreground is known.
    foreground = (composite - (1 - mask) * background) / jnp.maximum(mask, 1 / 255)
    return jnp.clip(foreground, 0.0, 1.0)

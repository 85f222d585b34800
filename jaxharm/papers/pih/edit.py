"""What of a predicted look is applied, and how: curves, shading, luminance, color, channels.

The order is fixed: curves and shading as chosen (`parts`, `shading_strength`) are rendered; the
result is blended with the composite as luminance, color or both; the change is weighted per channel
(`channels`, times the overall strength).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import jax.numpy as jnp

from jaxharm.errors import InputError
from jaxharm.interfaces import Array

Parts = Literal["all", "curves", "shading"]
Blend = Literal["all", "luminance", "color"]
STRONGEST_SHADING = 10.0
# Luminance of the blend modes of image editors (W3C Compositing and Blending, section 10.2).
_LUMINANCE = (0.30, 0.59, 0.11)


@dataclass(frozen=True)
class Edit:
    """Which part of a prediction is applied; the defaults apply all of it.

    Attributes:
        parts: "curves" leaves the shading out, "shading" the curves.
        shading_strength: 0 no shading, 1 as predicted, up to 10 exaggerates: a gain S becomes
            1 - shading_strength * (1-S), not below 0. That moves the lower end o of the gains to
            s = 1 - shading_strength * (1-o): the rule S' = (S-o)(1-s)/(1-o) + s of
            docs/papers/pih.md, "Inference".
        blend: "luminance" keeps the composite's hue and saturation, "color" its luminance: the
            modes Luminosity and Color of image editors (`set_luminance`).
        channels: share of the red, green and blue change, each from 0 to 1.
        single_alpha: soft edges are blended once even where the model blends them again for each
            stage (`PIHConfig.single_alpha`): hair keeps its light, and no rim shows.
            A plate must be the one that the composite was made with.

    Raises:
        InputError: a value outside its range.
    """

    parts: Parts = "all"
    shading_strength: float = 1.0
    blend: Blend = "all"
    channels: tuple[float, float, float] = (1.0, 1.0, 1.0)
    single_alpha: bool = False

    def __post_init__(self) -> None:
        if self.parts not in get_args(Parts):
            raise InputError(f"parts {self.parts!r} is not one of {', '.join(get_args(Parts))}")
        if not 0 <= self.shading_strength <= STRONGEST_SHADING:
            raise InputError(
                f"shading strength {self.shading_strength:g} is not between 0 and "
                f"{STRONGEST_SHADING:g}"
            )
        if self.blend not in get_args(Blend):
            raise InputError(f"blend {self.blend!r} is not one of {', '.join(get_args(Blend))}")
        if len(self.channels) != 3 or not all(0 <= share <= 1 for share in self.channels):
            raise InputError(
                f"channels {self.channels} are not three numbers (red, green, blue) of 0 to 1"
            )

    def gain(self, shading: Array) -> Array:
        """The gain map with `shading_strength` applied: any shape, in [0,1]."""
        if self.shading_strength == 1:
            return shading
        return jnp.maximum(1 - self.shading_strength * (1 - shading), 0.0)


def blend_images(composite: Array, result: Array, blend: Blend) -> Array:
    """Takes the luminance, the color or all of `result`, the rest from `composite`: f32[...,3]."""
    if blend == "luminance":
        return set_luminance(composite, _luminance(result))
    if blend == "color":
        return set_luminance(result, _luminance(composite))
    return result


def set_luminance(image: Array, luminance: Array) -> Array:
    """Shifts every color to the given luminance, then draws it towards gray until it is in [0,1].

    Args:
        image: f32[...,3] in [0,1], sRGB-encoded.
        luminance: f32[...,1] in [0,1], 0.30 R + 0.59 G + 0.11 B of encoded values.

    Returns:
        f32[...,3] in [0,1] of that luminance.  Source: W3C Compositing, SetLum and ClipColor.
    """
    # Equal steps in all three channels move the luminance and keep the differences: the hue.
    shifted = image + (luminance - _luminance(image))
    lowest = jnp.min(shifted, -1, keepdims=True)
    highest = jnp.max(shifted, -1, keepdims=True)
    # Where the color is inside, both ratios are at least 1.
    room_below = luminance / jnp.maximum(luminance - lowest, 1e-6)
    room_above = (1 - luminance) / jnp.maximum(highest - luminance, 1e-6)
    saturation = jnp.minimum(1.0, jnp.minimum(room_below, room_above))
    return luminance + (shifted - luminance) * saturation


def _luminance(image: Array) -> Array:
    weights = jnp.asarray(_LUMINANCE).reshape((1,) * (image.ndim - 1) + (3,))
    return jnp.sum(image * weights, -1, keepdims=True)

"""What the screen shows of a scene: a region of the picture, before or after, at the screen's size."""

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from jaxharm.errors import InputError
from jaxharm.images.bit_depth import from_unit, to_unit
from jaxharm.images.resize import shrink
from jaxharm.images.spaces import Space, to_srgb
from jaxharm.inference.harmonize import Harmonizer
from jaxharm.interfaces import Inputs

VIEW_PIXELS = 2_000_000  # of the small picture that stands for the whole while something is dragged
_QUALITY = 92


@dataclass(frozen=True)
class Region:
    """A part of a picture, in its pixels, and the size at which it is shown.

    Attributes:
        left, top, right, bottom: of the part.
        width: of what is shown; the height follows.
    """

    left: int
    top: int
    right: int
    bottom: int
    width: int

    @classmethod
    def of(cls, values: Any, size: tuple[int, int]) -> "Region":
        """From a request; the part is cut to the picture of `size` (height, width).

        Raises:
            InputError: not five numbers, or a part outside of the picture.
        """
        height, width = size
        try:
            left, top, right, bottom, shown = (round(float(value)) for value in values)
        except (TypeError, ValueError, OverflowError):
            raise InputError("a region is left, top, right, bottom and the width to show") from None
        left, right = max(0, left), min(width, right)
        top, bottom = max(0, top), min(height, bottom)
        if left >= right or top >= bottom:
            raise InputError("the region lies outside of the picture")
        most = int((VIEW_PIXELS * (right - left) / (bottom - top)) ** 0.5)
        return cls(left, top, right, bottom, max(1, min(shown, right - left, most)))

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what is shown."""
        share = self.width / (self.right - self.left)
        return max(1, round((self.bottom - self.top) * share)), self.width


def small_inputs(inputs: Inputs) -> Inputs:
    """The same pictures with at most `VIEW_PIXELS`, and without alpha."""
    height, width = inputs.mask.shape
    scale = min(1.0, (VIEW_PIXELS / (height * width)) ** 0.5)
    if scale == 1.0:
        return replace(inputs, alpha=None)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    dtype = inputs.composite.dtype

    def small(image: np.ndarray | None) -> np.ndarray | None:
        return None if image is None else from_unit(shrink(image, size), dtype)

    mask = np.clip(shrink(inputs.mask, size), 0, 1)
    if mask.max() == 0:  # too small an object to be seen at this size
        mask[mask.shape[0] // 2, mask.shape[1] // 2] = 1e-6
    return Inputs(
        from_unit(shrink(inputs.composite, size), dtype),
        None,
        mask,
        small(inputs.background),
        inputs.space,
        small(inputs.visible),
    )


def scaled(region: Region, size: tuple[int, int], small: tuple[int, int]) -> Region:
    """The region in a picture of another size."""
    down, across = small[0] / size[0], small[1] / size[1]
    left, right = int(region.left * across), max(1, round(region.right * across))
    top, bottom = int(region.top * down), max(1, round(region.bottom * down))
    left, top = min(left, right - 1), min(top, bottom - 1)
    return Region(left, top, right, bottom, min(region.width, right - left))


def is_small_enough(region: Region, small: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether the small picture shows a region as sharply as the whole one would."""
    return region.width <= (region.right - region.left) * small[1] / size[1] * 1.02


def rendered(
    run: Harmonizer,
    inputs: Inputs,
    region: Region,
    prediction: Any,
    strength: float,
    options: Any,
) -> np.ndarray:
    """A region of what a prediction makes of a picture: u8|u16|f32[h,w,3], without alpha.

    Only for parametric models, whose predictions are applied point by point: nothing outside of the
    region is computed.
    """
    mask = np.zeros_like(inputs.mask)
    mask[region.slices] = inputs.mask[region.slices]
    if not mask[region.slices].any():
        return inputs.composite[region.slices]
    part = replace(inputs, mask=mask, alpha=None)
    return run.runner.apply(part, prediction, strength, options)[region.slices]


def encoded(pixels: np.ndarray, space: Space | None, size: tuple[int, int]) -> bytes:
    """Pixels [h,w,3] as a JPEG in sRGB, of (height, width) `size`."""
    if pixels.shape[:2] != size:
        pixels = from_unit(shrink(pixels, size), pixels.dtype)
    shown = pixels if space is None else to_srgb(pixels, space)
    shown = shown if shown.dtype == np.uint8 else from_unit(to_unit(shown), np.uint8)
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(shown))
    picture.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def preview(pixels: np.ndarray, space: Space | None, side: int) -> bytes:
    """A picture [h,w,3|4] as a small WebP in sRGB, with its alpha."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    color = to_srgb(shrink(pixels[..., :3], size), space)
    planes = [from_unit(color, np.uint8)]
    if pixels.shape[2] == 4:
        planes.append(from_unit(shrink(pixels[..., 3], size), np.uint8)[..., None])
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(planes, 2)).save(buffer, "WEBP", quality=88)
    return buffer.getvalue()

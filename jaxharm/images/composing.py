"""Pasting a cut-out on a background: place, size, soft edges, depth and color of both.

The background's pixels are the untouched ones: where the cut-out does not lie they keep their bits,
and the composite is in the background's color space. Colors are scaled multiplied by alpha, so that
what alpha hides never shows at an edge.
"""

import operator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image

from jaxharm.errors import InputError
from jaxharm.images.bit_depth import LEVELS, from_unit, to_unit
from jaxharm.images.codec import ImageLike, as_picture
from jaxharm.images.masks import check_mask, clip_rounding
from jaxharm.images.spaces import Space, converted

_Region: TypeAlias = tuple[slice, slice]
_LARGEST = 1e6  # scale
_INVISIBLE = np.float32(1 / 4096)  # alpha below this is what rounding leaves of none


@dataclass(frozen=True)
class Placement:
    """Where a cut-out lies on its background.

    Attributes:
        at: column and row of the background at which its left upper corner lies, also outside of
            it; None: its middle lies on the middle.
        scale: factor of its size.
    """

    at: tuple[int, int] | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.at is not None:
            try:
                column, row = map(operator.index, self.at)
            except (TypeError, ValueError):
                raise InputError(f"at {self.at!r} is no place: give two whole numbers") from None
            object.__setattr__(self, "at", (column, row))
        if not 0 < self.scale <= _LARGEST:  # written so that NaN is refused too
            raise InputError(
                f"scale {self.scale:g} is not a factor above 0 and up to a million, such as 0.5"
            )

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the scaled cut-out."""
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))

    def corner(self, size: tuple[int, int], on: tuple[int, int]) -> tuple[int, int]:
        """(row, column) of the left upper corner of a cut-out of `size` on a background `on`."""
        if self.at is not None:
            return self.at[1], self.at[0]
        return (on[0] - size[0]) // 2, (on[1] - size[1]) // 2


def placement_of(at: tuple[int, int] | None, scale: float | None) -> Placement | None:
    """The placement that a caller asks for; None where of neither."""
    if at is None and scale is None:
        return None
    return Placement(at, 1.0 if scale is None else scale)


@dataclass(frozen=True)
class Composite:
    """A cut-out on its background.

    Attributes:
        image: [h,w,3], in the color space of the background.
        mask: f32[h,w] in [0,1], how much of each pixel is the cut-out's.
        background: [h,w,3] in the dtype of `image`: the plate without the cut-out.
    """

    image: np.ndarray
    mask: np.ndarray
    background: np.ndarray


def check_image(name: str, image: np.ndarray) -> np.ndarray:
    """Checks a picture given as an array; InputError with `name` where it is none.

    Returns:
        u8, u16 or float in [0,1], [h,w,3] or [h,w,4].
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] not in (3, 4) or 0 in image.shape:
        raise InputError(f"the {name} has shape {list(image.shape)}, not [h,w,3] or [h,w,4]")
    if image.dtype.name in LEVELS:
        return image
    if image.dtype.kind != "f":
        raise InputError(f"the {name} is {image.dtype}; give uint8, uint16 or float in [0,1]")
    return clip_rounding(name, image)


def compose(
    cutout: ImageLike,
    background: ImageLike,
    *,
    at: tuple[int, int] | None = None,
    scale: float = 1.0,
) -> Composite:
    """Pastes a cut-out on a background, at its place and size.

    Args:
        cutout: u8, u16 or float (in [0,1]) [h,w,4], sRGB-encoded, alpha last and colors not
            multiplied by it; or a file with alpha, in the color space of its profile.
        background: [h,w,3], or a file.
        at: column and row of the background at which the cut-out's left upper corner lies, also
            outside of it; None: the cut-out's middle lies on the middle.
        scale: factor of the cut-out's size.

    Returns:
        The composite in the size and color space of the background, with its mask. Where the mask
        is 0 it is the background, bit for bit. It has the dtype of the cut-out, or 16 bits where
        the background has them and the cut-out has 8.

    Raises:
        InputError: no alpha, a scale of 0 or less, or no visible part lies on the background.
    """
    over, under = as_picture(cutout), as_picture(background)
    pixels = check_image("cut-out", over.pixels)
    if pixels.shape[2] != 4:
        raise InputError(
            f"{over.name} has no alpha, so that nothing says what is cut out: save it as RGBA"
        )
    return paste(
        pixels,
        check_image("background", under.pixels)[..., :3],
        Placement(at, scale),
        space=over.space,
        background_space=under.space,
    )


def paste(
    cutout: np.ndarray,
    background: np.ndarray,
    placement: Placement,
    *,
    space: Space | None = None,
    background_space: Space | None = None,
) -> Composite:
    """Pastes a cut-out on a background.

    Args:
        cutout: u8, u16 or float [h,w,4], alpha last, colors not multiplied by it.
        background: u8, u16 or float [h,w,3].
        placement: where, and how large.
        space, background_space: color spaces of the two; None: sRGB.

    Returns:
        The composite in the dtype of the cut-out, or u16 where the background alone is.

    Raises:
        InputError: no visible part of the cut-out lies on the background.
    """
    size = placement.size_of(*cutout.shape[:2])
    corner = placement.corner(size, background.shape[:2])
    part, place = _overlap(size, corner, background.shape[:2])
    color, soft = _scaled(cutout, size, part)
    if soft.size == 0 or soft.max() == 0:
        raise InputError(_outside(size, corner, background.shape[:2]))
    deeper = cutout.dtype == np.uint8 and background.dtype == np.uint16
    dtype = background.dtype if deeper else cutout.dtype
    plate = background
    if background.dtype != dtype:
        plate = from_unit(to_unit(background), dtype)
    mask = np.zeros(background.shape[:2], np.float32)
    mask[place] = soft
    mask = check_mask(mask, background.shape[:2])
    image = plate.copy()
    soft = soft[..., None]
    color = converted(color, space, background_space)
    blended = from_unit(color * soft + to_unit(plate[place]) * (1 - soft), dtype)
    np.copyto(image[place], blended, where=soft > 0)
    return Composite(image, mask, plate)


def _scaled(
    cutout: np.ndarray, size: tuple[int, int], part: _Region
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a cut-out at another size: color f32[h,w,3] and alpha f32[h,w]."""
    height, width = cutout.shape[:2]
    if size == (height, width):
        piece = to_unit(cutout[part])
        return piece[..., :3], piece[..., 3]
    rows, columns = part
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    if 0 in shape:
        return np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32)
    # Only the part is made, from all pixels that it depends on.
    across, down = width / size[1], height / size[0]
    last = min(columns.stop * across, width), min(rows.stop * down, height)  # but for rounding
    box = (columns.start * across, rows.start * down, *last)
    alpha = to_unit(cutout[..., 3])
    planes = [*np.moveaxis(to_unit(cutout[..., :3]) * alpha[..., None], -1, 0), alpha]
    # Antialiased by Pillow, which resizes floats of one channel only.
    resized = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane)).resize(
                shape, Image.Resampling.BICUBIC, box=box
            )
        )
        for plane in planes
    ]
    # The kernel overshoots at edges: colors and alpha alike, so that their quotient is right.
    color = np.stack(resized[:3], -1) / np.maximum(resized[3], _INVISIBLE)[..., None]
    soft = np.clip(resized[3], 0, 1)
    soft[soft < _INVISIBLE] = 0
    return np.clip(color, 0, 1), soft


def _overlap(
    size: tuple[int, int], corner: tuple[int, int], on: tuple[int, int]
) -> tuple[_Region, _Region]:
    """The part of the cut-out that lies on the background, and the place where it lies."""
    parts, places = [], []
    for length, start, whole in zip(size, corner, on, strict=True):
        first = min(max(start, 0), whole)
        last = max(min(start + length, whole), first)
        places.append(slice(first, last))
        parts.append(slice(first - start, last - start))
    return (parts[0], parts[1]), (places[0], places[1])


def _outside(size: tuple[int, int], corner: tuple[int, int], on: tuple[int, int]) -> str:
    return (
        f"the cut-out, {size[1]}x{size[0]} pixels at {corner[1]},{corner[0]}, lies outside of the "
        f"background of {on[1]}x{on[0]} pixels, or only with its transparent part inside: choose "
        "another place (at X,Y is its left upper corner)"
    )

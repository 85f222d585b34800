"""Masks: one set of rules for files, arrays and data sets.

1 (or the largest value) marks the foreground; values between are soft edges.

- Channel: alpha where it varies (a cut-out); else the gray value, or the color. A color mask may
  have one color on black: that color is 1. Flat colors of several objects, in a palette or not, are
  refused, and any other color picture gives its brightness, with a note.
- Scale: integers are shares of the largest value of their type. Values that cannot be meant so are
  understood as their makers mean them: zeros and ones alone are labels; with one other low value,
  that one is foreground; 16 bits that hold nothing above 255 are 8 bits; a lowest value just above
  0 is 0; near the ends of the scale a JPEG has noise. All but the first with a note. Several low
  values are labels of several objects, which are refused: only the user knows which one is meant.
- A color profile means nothing here.
- Orientation: a mask with EXIF orientation is turned by its own. One without it lies as it is seen,
  and is turned with the photograph only where its size says that it was drawn on the unturned one.

`MaskChoice` decides what files cannot.
"""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images.bit_depth import LEVELS, from_unit, quantize, to_unit
from jaxharm.images.codec import ImageFile, decode_content, decode_file
from jaxharm.images.color import LUMA
from jaxharm.images.decoded import DamagedError, Decoded, turned

Channel = Literal["auto", "alpha", "gray", "red", "green", "blue"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
_FULL = 0.95  # a mask that covers more than this share is probably inverted
_LOW = 0.25  # of the scale: a mask whose highest value lies below cannot be meant as it is
_MOST_LABELS = 32  # distinct values: more are a soft mask
_NOISE = 16 / 255  # of JPEG, around black and white
_BLACK = 4 / 255  # a lowest value up to here is meant as 0
_CHROMA = 24  # of 255: channels that differ by less are gray with the noise of JPEG
_ROUNDING = 1e-4  # floats this far outside of [0,1] come from arithmetic


class LabelsError(DamagedError):
    """A mask of several objects: which of them is meant?"""


@dataclass(frozen=True)
class MaskChoice:
    """What a user says of a mask file, where the rules would take it otherwise.

    Attributes:
        channel: where the mask is.
        label: the value, or entry of a palette, that is the foreground; all else is background.
        invert: whether black is the foreground.
    """

    channel: Channel = "auto"
    label: int | None = None
    invert: bool = False


@dataclass(frozen=True)
class Understood:
    """What a mask file means.

    Attributes:
        values: u8 or u16 [h,w]; the largest value of the type is 1.
        notes: what was understood otherwise than it is written, each the end of a sentence that
            begins with "the mask".
        were_labels: whether it had zeros and ones alone.
    """

    values: np.ndarray
    notes: tuple[str, ...] = ()
    were_labels: bool = False


def read_mask(
    path: str | os.PathLike[str],
    choice: MaskChoice | None = None,
    *,
    composite: ImageFile | None = None,
) -> np.ndarray:
    """Reads a user's mask file; warns of what was understood otherwise than it is written.

    Args:
        path: of the file.
        choice: what the user says of it.
        composite: the picture that it belongs to, which tells how it lies.

    Returns:
        u8 or u16 [h,w]; `check_mask` scales it to [0,1].

    Raises:
        InputError: as `jaxharm.images.read_image`; labels of several objects; a channel or label
            that the file does not have.
    """
    return _as_mask(decode_file(Path(path)), str(path), choice, composite)


def read_mask_bytes(
    data: bytes,
    name: str,
    choice: MaskChoice | None = None,
    *,
    composite: ImageFile | None = None,
) -> np.ndarray:
    """As `read_mask`, of a file's content; `name` stands for it in messages."""
    return _as_mask(decode_content(data, name), name, choice, composite)


def _as_mask(
    decoded: Decoded, name: str, choice: MaskChoice | None, composite: ImageFile | None
) -> np.ndarray:
    choice = choice or MaskChoice()
    notes: tuple[str, ...] = ()
    if composite is not None:
        decoded, notes = as_composite(decoded, composite)
    try:
        found = understand(decoded, choice)
    except LabelsError as error:
        raise InputError(
            f"mask {name} {error}; choose one with --label N (label=N of MaskChoice)"
        ) from None
    except DamagedError as error:
        raise InputError(f"cannot use mask {name}: {error}") from None
    if notes or found.notes:
        warnings.warn(f"the mask {name} {'; it '.join([*notes, *found.notes])}", stacklevel=3)
    top = int(LEVELS[found.values.dtype.name])
    return top - found.values if choice.invert else found.values


def as_composite(decoded: Decoded, composite: ImageFile) -> tuple[Decoded, tuple[str, ...]]:
    """Turns a mask as its composite was turned, where its size says so; also what is to be noted."""
    turn, size = composite.orientation, composite.pixels.shape[:2]
    if turn == 1 or decoded.orientation != 1:
        return decoded, ()
    mask = decoded.pixels.shape[:2]
    if turn >= 5 and mask != size and mask == size[::-1]:
        return turned(decoded, turn), ("lies as the composite is stored: it is turned as that is",)
    note = "has no EXIF orientation while the composite has: it is taken as it lies"
    return decoded, ((note,) if mask == size and (turn < 5 or size[0] == size[1]) else ())


def understand(decoded: Decoded, choice: MaskChoice | None = None) -> Understood:
    """Applies the rules of this module to a decoded file, without `invert`.

    Raises:
        LabelsError: labels of several objects.
        DamagedError: the choice names what the file does not have.
    """
    choice = choice or MaskChoice()
    if choice.label is not None:
        return Understood(_of_label(decoded, choice))
    plane, notes = _plane(decoded, choice.channel)
    if decoded.lossy:
        plane, cleaned = _without_noise(plane)
        notes += cleaned
    values, scaled, were_labels = _scaled(plane)
    return Understood(values, (*notes, *scaled), were_labels)


def raw_values(decoded: Decoded) -> np.ndarray:
    """The mask of several objects as it is stored: u8 or u16 [h,w], a value for each object."""
    if decoded.indices is not None and not _is_gray(decoded.pixels):
        return decoded.indices
    return decoded.pixels[..., 0]


def check_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Checks a mask given as an array and scales it to f32[h,w] in [0,1].

    Args:
        mask: [h,w] or [h,w,1]; bool and floats are taken as they are, integers by the rules of
            this module.
        size: (height, width) of the composite.

    Raises:
        InputError: wrong shape, size, dtype or range, or no pixel above zero.
    """
    mask = np.asarray(mask)
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim != 2:
        raise InputError(f"the mask has shape {list(mask.shape)}, not [h,w] or [h,w,1]")
    check_size("mask", mask.shape, size)
    if mask.dtype.name in LEVELS:
        try:
            mask, notes, _ = _scaled(mask)
        except LabelsError as error:
            raise InputError(
                f"the mask {error}; give mask == N for the one that is meant"
            ) from None
        if notes:
            warnings.warn(f"the mask {'; it '.join(notes)}", stacklevel=3)
        mask = to_unit(mask)
    elif mask.dtype == np.bool_ or mask.dtype.kind == "f":
        mask = clip_rounding("mask", mask.astype(np.float32))
    else:
        raise InputError(f"the mask is {mask.dtype}; give bool, uint8, uint16 or float")
    if mask.max() == 0:
        raise InputError("the mask is empty: no pixel of it is above 0 (1 marks the foreground)")
    covered = float(mask.mean())
    if covered > _FULL:
        warnings.warn(
            f"the mask covers {covered:.0%} of the image: is it inverted? 1 marks the foreground",
            stacklevel=3,
        )
    return mask


def clip_rounding(name: str, values: np.ndarray) -> np.ndarray:
    """Clips floats that are a rounding outside of [0,1]; InputError with the range if it is more."""
    low, high = float(values.min()), float(values.max())
    # Written so that NaN, for which every comparison is false, is refused too.
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        remedy = "; divide it by 255" if 1 < high <= 255 and low >= 0 else ""
        raise InputError(
            f"the {name} spans {low:.9g} to {high:.9g}, not 0 to 1: floats lie in [0,1]{remedy}"
        )
    return values if low >= 0 and high <= 1 else np.clip(values, 0, 1)


def check_size(name: str, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Raises InputError unless an array's height and width are those of the composite."""
    if tuple(shape[:2]) != tuple(size):
        raise InputError(
            f"the {name} is {shape[1]}x{shape[0]} pixels and the composite {size[1]}x{size[0]}; "
            "both must have the same size"
        )


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Brings u8 or u16 to u8: 16 bits by / 257, so that both ends of the scale are kept."""
    return values if values.dtype == np.uint8 else quantize(values / 257.0)


def _of_label(decoded: Decoded, choice: MaskChoice) -> np.ndarray:
    if choice.channel != "auto":
        values, _ = _plane(decoded, choice.channel)
    elif decoded.indices is not None:
        values = decoded.indices
    elif _is_gray(decoded.pixels):
        values = decoded.pixels[..., 0]
    else:
        raise DamagedError("its labels are colors; --mask-channel red, green or blue decides")
    found = values == choice.label
    if not found.any():
        raise DamagedError(f"no pixel has the label {choice.label}: there are {_listed(values)}")
    return from_unit(found.astype(np.float32), np.uint8)


def _plane(decoded: Decoded, channel: Channel) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values u8|u16[h,w] that are the mask, and what is to be noted."""
    pixels, channels = decoded.pixels, decoded.pixels.shape[2]
    alpha = pixels[..., -1] if channels in (2, 4) else None
    color = pixels[..., : channels - (alpha is not None)]
    if channel == "alpha" and alpha is None:
        raise DamagedError("it has no alpha")
    if channel in ("red", "green", "blue"):
        index = ("red", "green", "blue").index(channel)
        return color[..., min(index, color.shape[2] - 1)], ()
    # A constant alpha is what editors add to any picture: the mask is in the colors then.
    varies = alpha is not None and alpha.min() != alpha.max()
    if alpha is not None and (channel == "alpha" or (channel == "auto" and varies)):
        return alpha, (_two_masks(color, alpha) if channel == "auto" else ())
    if _is_gray(color):
        return color[..., 0], ()
    if channel == "gray":
        return _luma(color), ()
    if decoded.indices is not None:
        return _from_palette(decoded.indices, color)
    return _from_color(color)


def _two_masks(color: np.ndarray, alpha: np.ndarray) -> tuple[str, ...]:
    """A note where the gray values could be the mask as well as alpha."""
    seen = color[alpha > 0]
    if not _is_gray(seen) or (seen[..., 0] == seen[0, 0]).all():
        return ()
    return ("has gray values and alpha: alpha is taken; --mask-channel gray takes the other",)


def _from_palette(indices: np.ndarray, color: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The mask in a picture of palette colors: one of two entries, or a color picture."""
    used = np.flatnonzero(np.bincount(indices.ravel()))
    if len(used) == 2:
        _, bright = sorted(used, key=lambda entry: int(color[indices == entry][0].sum()))
        note = f"has two colors of a palette: entry {bright}, the brighter one, is taken as 1"
        return from_unit((indices == bright).astype(np.float32), np.uint8), (note,)
    if len(used) <= _MOST_LABELS:
        raise LabelsError(f"has the entries {_listed(indices)} of a palette, like several objects")
    return _from_color(color)


def _from_color(color: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The mask in a picture with colors."""
    top = float(LEVELS[color.dtype.name])
    strength = color.max(-1)
    if (strength - color.min(-1)).max() <= _CHROMA * top / 255:
        return _luma(color), ()  # gray with the noise of JPEG
    peak = color.reshape(-1, 3)[strength.argmax()].astype(np.float32)
    share = strength / np.float32(peak.max())
    step = max(1, len(color) // 1024)  # some rows tell
    expected = share[::step, :, None] * peak
    if np.abs(color[::step] - expected).max() <= _CHROMA * top / 255:
        name = ", ".join(f"{v:.0f}" for v in peak)
        return from_unit(share, color.dtype), (
            f"has one color ({name}) on black: that is taken as 1",
        )
    flat = _flat_colors(color[::step])
    if flat is not None:
        raise LabelsError(f"has {flat} flat colors, which look like several objects")
    return _luma(color), (
        "is a color picture: its brightness is taken; --mask-channel chooses another channel",
    )


def _flat_colors(color: np.ndarray) -> int | None:
    """How many colors there are, if so few that they look like labels."""
    weights = np.array([1, 2**16, 2**32], np.uint64)
    distinct = len(np.unique(color.astype(np.uint64) @ weights))
    return distinct if distinct <= _MOST_LABELS else None


def _without_noise(plane: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Puts what is near black and white of a JPEG there."""
    top = LEVELS[plane.dtype.name]
    noise = round(_NOISE * top)
    clean = plane.copy()
    clean[plane <= noise] = 0
    clean[plane >= top - noise] = top
    if np.array_equal(clean, plane):
        return plane, ()
    return clean, (f"is a JPEG: values within {noise} of black and white are taken as such",)


def _scaled(plane: np.ndarray) -> tuple[np.ndarray, tuple[str, ...], bool]:
    """Brings u8 or u16 [h,w] to the whole scale; also the notes, and whether these were labels."""
    notes: tuple[str, ...] = ()
    low, high = (int(plane.min()), int(plane.max())) if plane.size else (0, 0)
    if high == 1 and low == 0:
        return _binary(plane), (), True
    if plane.dtype == np.uint16 and 1 < high <= 255:
        plane = plane.astype(np.uint8)
        notes = (f"has 16 bits and no value above {high}: it is taken as 8 bits",)
    top = int(LEVELS[plane.dtype.name])
    if 0 < low <= _BLACK * top and high > 2 * low:
        plane = np.where(plane == low, plane.dtype.type(0), plane)
        notes += (f"is 0 nowhere: its lowest value, {low} of {top}, is taken as 0",)
    elif 0 < low < high:
        notes += (f"is 0 nowhere (its lowest value is {low} of {top}): all of the picture changes",)
    if 0 < high < _LOW * top:
        distinct = np.flatnonzero(np.bincount(plane.ravel(), minlength=1))
        if len(distinct) <= 2:
            note = f"has no value but {_listed(plane)} of {top}: {high} is taken as 1"
            return _binary(plane), (*notes, note), False
        if len(distinct) <= _MOST_LABELS:
            raise LabelsError(f"has the values {_listed(plane)}, which look like several objects")
        notes += (f"has no value above {high} of {top}: the result will hardly change",)
    return plane, notes, False


def _binary(plane: np.ndarray) -> np.ndarray:
    top = plane.dtype.type(LEVELS[plane.dtype.name])
    binary: np.ndarray = np.where(plane > 0, top, plane.dtype.type(0))
    return binary


def _is_gray(color: np.ndarray) -> bool:
    return color.shape[-1] <= 2 or bool((color[..., :3] == color[..., :1]).all())


def _luma(color: np.ndarray) -> np.ndarray:
    brightness: np.ndarray = color.astype(np.float32) @ LUMA.astype(np.float32)
    return quantize(brightness, color.dtype)


def _listed(values: np.ndarray) -> str:
    found = np.unique(values)
    shown = ", ".join(str(value) for value in found[:12])
    return f"{shown} and {len(found) - 12} more" if len(found) > 12 else shown

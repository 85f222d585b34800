"""Masks: one set of rules for files, arrays and data sets.

1 (or the largest value) marks the foreground.

- Channel of a user's file: alpha where it varies; else the gray value, luma where the channels
  differ. Channel of a data set's file: the first; alpha is ignored, because published sets store
  masks as RGB(A) with equal channels.
- Scale: integers are shares of the largest value of their type, 16 bits come to 8 by / 257. A
  mask of zeros and ones alone holds labels, in any type: 1 is foreground, not 1/255 of it.
- Values between stay soft; nothing is thresholded or dithered here.
"""

import os
import warnings
from pathlib import Path

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images.bit_depth import LEVELS, from_unit, quantize
from jaxharm.images.codec import decode_file
from jaxharm.images.color import LUMA

_FULL = 0.95  # a mask that covers more than this share is probably inverted


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a user's mask file.

    Returns:
        u8 or u16 [h,w]; `check_mask` scales it to [0,1].

    Raises:
        InputError: as `jaxharm.images.read_image`.
    """
    pixels = decode_file(Path(path)).pixels
    channels = pixels.shape[2]
    if channels in (2, 4):
        alpha = pixels[..., -1]
        # A constant alpha is what editors add to any picture: the mask is in the colors then.
        if alpha.min() != alpha.max():
            return alpha
    if channels <= 2:
        return pixels[..., 0]
    rgb = pixels[..., :3]
    if (rgb == rgb[..., :1]).all():
        return rgb[..., 0]
    return quantize(rgb.astype(np.float32) @ LUMA.astype(np.float32), pixels.dtype)


def check_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Checks a mask given as an array and scales it to f32[h,w] in [0,1].

    Args:
        mask: [h,w] or [h,w,1]; bool and floats are taken as they are.
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
        levels = 1.0 if holds_labels(mask) else LEVELS[mask.dtype.name]
        mask = np.divide(mask, np.float32(levels), dtype=np.float32)
    elif mask.dtype == np.bool_ or mask.dtype.kind == "f":
        mask = mask.astype(np.float32)
    else:
        raise InputError(f"the mask is {mask.dtype}; give bool, uint8, uint16 or float")
    # Written so that NaN, for which every comparison is false, is refused too.
    if not (mask.min() >= 0 and mask.max() <= 1):
        raise InputError(f"the mask spans {mask.min():g} to {mask.max():g}, not 0 to 1")
    if mask.max() == 0:
        raise InputError("the mask is empty: no pixel of it is above 0 (1 marks the foreground)")
    covered = float(mask.mean())
    if covered > _FULL:
        warnings.warn(
            f"the mask covers {covered:.0%} of the image: is it inverted? 1 marks the foreground",
            stacklevel=3,
        )
    return mask


def check_size(name: str, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Raises InputError unless an array's height and width are those of the composite."""
    if tuple(shape[:2]) != tuple(size):
        raise InputError(
            f"the {name} is {shape[1]}x{shape[0]} pixels and the composite {size[1]}x{size[0]}; "
            "both must have the same size"
        )


def holds_labels(mask: np.ndarray) -> bool:
    """Whether an integer mask has zeros and ones alone, and a one."""
    return bool(mask.max(initial=0) == 1)


def to_bytes(pixels: np.ndarray) -> tuple[np.ndarray, bool]:
    """Brings a data set's mask of any kind that Pillow decodes to 8 bits.

    Args:
        pixels: [h,w] or [h,w,c]; bool, u8, or integers up to 65535.

    Returns:
        The mask u8[h,w], and whether it held labels.
    """
    mask = pixels[..., 0] if pixels.ndim == 3 else pixels
    if mask.dtype == np.bool_:
        return from_unit(mask.astype(np.float32), np.uint8), False
    if holds_labels(mask):
        return quantize(mask.astype(np.int32) * 255), True
    if mask.dtype != np.uint8:
        # Exactly 65535 / 255: both ends of the scale are kept.
        mask = quantize(mask / 257.0)
    return np.ascontiguousarray(mask), False

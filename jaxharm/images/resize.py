"""Resizing by the kernels that published protocols use: they are part of a protocol, not a detail.

Images: `linear_noaa` (OpenCV INTER_LINEAR: half-pixel bilinear, no antialiasing), `linear_aa`
(Pillow BILINEAR) and `cubic_aa` (Pillow BICUBIC), both antialiased. Masks: `linear` (INTER_LINEAR
on floats, stays soft), `linear_aa` (Pillow BILINEAR on 8 bits, stays soft), `linear_binary` (as
`linear`, then > 0.5) and `nearest_binary` (Pillow's 1-bit conversion at the native size, which
dithers intermediate values, then nearest).
"""

import cv2
import numpy as np
from PIL import Image

from jaxharm.images.bit_depth import to_unit

IMAGE_MODES = ("linear_noaa", "linear_aa", "cubic_aa")
MASK_MODES = ("linear", "linear_aa", "linear_binary", "nearest_binary")
_PILLOW = {"linear_aa": Image.Resampling.BILINEAR, "cubic_aa": Image.Resampling.BICUBIC}


def resize_image(image: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """Resizes an image.

    Args:
        image: u8[h,w,3].
        size: (height, width) wanted; the same size returns the image itself.
        mode: one of `IMAGE_MODES`.

    Returns:
        u8[height,width,3].

    Raises:
        ValueError: unknown mode, or an image of another type or shape.
    """
    _check(image, (3,), mode, IMAGE_MODES)
    if image.shape[:2] == tuple(size):
        return image
    if mode == "linear_noaa":
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(Image.fromarray(image).resize(size[::-1], _PILLOW[mode]))


def resize_mask(mask: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """Resizes a mask; at the same size only the conversion to floats (or to 0 and 1) remains.

    Args:
        mask: u8[h,w], 0 = background, 255 = foreground.
        size: (height, width) wanted.
        mode: one of `MASK_MODES`.

    Returns:
        f32[height,width,1] in [0,1].

    Raises:
        ValueError: unknown mode, or a mask of another type or shape.
    """
    _check(mask, (), mode, MASK_MODES)
    # Dithering a soft mask is wrong, but it is what the published code of this mode does.
    if mode == "nearest_binary":
        bits = Image.fromarray(mask).convert("1")
        if mask.shape != tuple(size):
            bits = bits.resize(size[::-1], Image.Resampling.NEAREST)
        return np.asarray(bits, np.float32)[..., None]
    if mode == "linear_aa" and mask.shape != tuple(size):
        mask = np.asarray(Image.fromarray(mask).resize(size[::-1], _PILLOW[mode]))
    soft: np.ndarray = mask.astype(np.float32) / np.float32(255)
    if mask.shape != tuple(size):
        soft = cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR)
    if mode == "linear_binary":
        soft = (soft > 0.5).astype(np.float32)
    return soft[..., None]


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a user's image for a network, by Pillow's antialiased bilinear.

    Args:
        image: [h,w,3] or [h,w], u8, u16 or float.
        size: (height, width) wanted; the aspect ratio may change.

    Returns:
        f32 in [0,1] of the same rank. 8-bit RGB is rounded to 8 bits after each pass, as the
        reference's input is; every other kind stays in float.
    """
    if image.shape[:2] == size:
        return to_unit(image)
    shape = (size[1], size[0])
    if image.dtype == np.uint8 and image.ndim == 3:
        picture = Image.fromarray(np.ascontiguousarray(image))
        return to_unit(np.asarray(picture.resize(shape, Image.Resampling.BILINEAR)))
    # Pillow resizes floats of one channel only.
    planes = [image] if image.ndim == 2 else [image[..., c] for c in range(image.shape[2])]
    small = [
        np.asarray(Image.fromarray(to_unit(plane)).resize(shape, Image.Resampling.BILINEAR))
        for plane in planes
    ]
    return small[0] if image.ndim == 2 else np.stack(small, axis=-1)


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """Shrinks u8[h,w,3] until its longest side is at most `side`; smaller images stay as they are."""
    height, width = image.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = np.ascontiguousarray(image)
    return image if factor == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def with_aspect(image: np.ndarray, aspect: float | None, side: int) -> np.ndarray:
    """Shrinks a squashed picture u8[h,w,3] to its true aspect, width / height.

    Its longest side is then `side`, or that of `image` where this is smaller. None: as `thumbnail`.
    """
    if aspect is None:
        return thumbnail(image, side)
    longest = min(side, max(image.shape[:2]))
    width = longest if aspect >= 1 else max(1, round(longest * aspect))
    height = longest if aspect <= 1 else max(1, round(longest / aspect))
    image = np.ascontiguousarray(image)
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _check(array: np.ndarray, trailing: tuple[int, ...], mode: str, modes: tuple[str, ...]) -> None:
    if mode not in modes:
        raise ValueError(f"unknown resize mode {mode!r}; one of {', '.join(modes)} is needed")
    if array.dtype != np.uint8 or array.ndim != 2 + len(trailing) or array.shape[2:] != trailing:
        raise ValueError(
            f"an array uint8{['h', 'w', *trailing]} is needed, not {array.dtype}{list(array.shape)}"
        )

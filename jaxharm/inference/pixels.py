"""User arrays -> checked arrays: dtypes, ranges, shapes, cut-outs, masks."""

import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from jaxharm.errors import InputError

_SCALES = {"uint8": 255.0, "uint16": 65535.0}
_FULL_MASK = 0.95  # a mask that covers more than this share is probably inverted


@dataclass(frozen=True)
class Inputs:
    """One checked call.

    Attributes:
        composite: [h,w,3] in the caller's dtype.
        alpha: [h,w,1] of the composite, to be put back on the result, or None.
        mask: f32[h,w] in [0,1].
        background: [h,w,3] in the composite's dtype, or None.
    """

    composite: np.ndarray
    alpha: np.ndarray | None
    mask: np.ndarray
    background: np.ndarray | None


def check_inputs(
    composite: np.ndarray, mask: np.ndarray | None, background: np.ndarray | None
) -> Inputs:
    """Checks the arrays of a call and pastes a cut-out over its background.

    A composite with alpha and without a mask is a cut-out: its alpha is the mask, and it is
    blended over `background`, which is then required.

    Raises:
        InputError: wrong shape, dtype or range; sizes that differ; an empty mask.
    """
    composite = _check_image("composite", composite)
    size = composite.shape[:2]
    if background is not None:
        background = _check_image("background", background)[..., :3]
        if background.shape[:2] != size:
            raise InputError(_size_message("background", background.shape, size))
        if background.dtype != composite.dtype:
            background = from_unit(to_unit(background), composite.dtype)
    color, alpha = composite[..., :3], (composite[..., 3:] if composite.shape[2] == 4 else None)
    if mask is not None:
        weights = check_mask(mask, size)
        return Inputs(color, alpha, weights, background)
    if alpha is None or background is None:
        raise InputError(
            "no mask given; without one the composite must be a cut-out with alpha (RGBA) and a "
            "background of the same size"
        )
    weights = check_mask(alpha[..., 0], size)
    soft = weights[..., None]
    pasted = to_unit(color) * soft + to_unit(background) * (1 - soft)
    pasted = from_unit(pasted, composite.dtype)
    np.copyto(pasted, background, where=soft == 0)
    return Inputs(pasted, None, weights, background)


def check_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a mask to f32[h,w] in [0,1].

    bool and float masks are taken as they are; integer masks are divided by the largest value of
    their type, except that a mask of zeros and ones only is taken as labels.

    Raises:
        InputError: wrong shape, size, dtype or range, or no pixel above zero.
    """
    mask = np.asarray(mask)
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim != 2:
        raise InputError(f"the mask has shape {list(mask.shape)}, not [h,w] or [h,w,1]")
    if mask.shape != size:
        raise InputError(_size_message("mask", mask.shape, size))
    if mask.dtype.name in _SCALES:
        scale = 1.0 if mask.max(initial=0) <= 1 else _SCALES[mask.dtype.name]
        mask = np.divide(mask, np.float32(scale), dtype=np.float32)
    elif mask.dtype == np.bool_ or mask.dtype.kind == "f":
        mask = mask.astype(np.float32)
    else:
        raise InputError(f"the mask is {mask.dtype}; give bool, uint8, uint16 or float")
    if not (mask.min() >= 0 and mask.max() <= 1):  # also refuses NaN
        raise InputError(f"the mask spans {mask.min():g} to {mask.max():g}, not 0 to 1")
    if mask.max() == 0:
        raise InputError("the mask is empty: no pixel of it is above 0 (1 marks the foreground)")
    covered = float(mask.mean())
    if covered > _FULL_MASK:
        warnings.warn(
            f"the mask covers {covered:.0%} of the image: is it inverted? 1 marks the foreground",
            stacklevel=3,
        )
    return mask


def to_unit(image: np.ndarray) -> np.ndarray:
    """u8, u16 or float -> f32 in [0,1]."""
    scale = _SCALES.get(image.dtype.name)
    if scale is None:
        return image.astype(np.float32)
    return np.divide(image, np.float32(scale), dtype=np.float32)


def from_unit(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """f32 in [0,1] (clipped) -> `dtype`, rounded to nearest."""
    image = np.clip(image, 0.0, 1.0)
    scale = _SCALES.get(np.dtype(dtype).name)
    return np.rint(image * np.float32(scale)).astype(dtype) if scale else image.astype(dtype)


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes to (height, width) by Pillow's antialiased bilinear, aspect ratio ignored.

    Args:
        image: [h,w,3] or [h,w], u8, u16 or float.

    Returns:
        f32 in [0,1] of the same rank. 8-bit RGB is rounded to 8 bits after each pass, as the
        reference's input is (specs/pih 7); every other kind stays in float.
    """
    if image.shape[:2] == size:
        return to_unit(image)
    shape = (size[1], size[0])
    if image.dtype == np.uint8 and image.ndim == 3:
        picture = Image.fromarray(np.ascontiguousarray(image))
        return to_unit(np.asarray(picture.resize(shape, Image.Resampling.BILINEAR)))
    planes = [image] if image.ndim == 2 else [image[..., c] for c in range(image.shape[2])]
    small = [
        np.asarray(Image.fromarray(to_unit(plane)).resize(shape, Image.Resampling.BILINEAR))
        for plane in planes
    ]
    return small[0] if image.ndim == 2 else np.stack(small, axis=-1)


def _check_image(name: str, image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] not in (3, 4) or 0 in image.shape:
        raise InputError(f"the {name} has shape {list(image.shape)}, not [h,w,3] or [h,w,4]")
    if image.dtype.name in _SCALES:
        return image
    if image.dtype.kind != "f":
        raise InputError(f"the {name} is {image.dtype}; give uint8, uint16 or float in [0,1]")
    if not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"the {name} spans {image.min():g} to {image.max():g}; float images lie in [0,1]"
        )
    return image


def _size_message(name: str, shape: tuple[int, ...], size: tuple[int, int]) -> str:
    return (
        f"the {name} is {shape[1]}x{shape[0]} pixels and the composite {size[1]}x{size[0]}; "
        "both must have the same size"
    )

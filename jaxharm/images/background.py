"""The background of an image that has none: the object's place filled by its surroundings.

A network that needs the same fill on the accelerator has its own form of it in its graph; a test
holds the two together.
"""

import cv2
import numpy as np

from jaxharm.images.bit_depth import quantize

FILLS = ("diffusion", "mean")
_GROW = 2  # pixels around the foreground whose colors are not trusted: halos of resizing
_OPAQUE = 0.1  # from this mask value on a pixel shows too much foreground to be kept


def fill_background(image: np.ndarray, mask: np.ndarray, fill: str = "diffusion") -> np.ndarray:
    """Replaces the foreground by colors of its surroundings.

    Args:
        image: u8[h,w,3].
        mask: f32[h,w,1] in [0,1], 1 = foreground.
        fill: "diffusion": a smooth continuation (a pyramid of means of the known pixels);
            "mean": the mean color of the background.

    Returns:
        u8[h,w,3]: the image where the mask is 0, the fill where it is 0.1 or more, a mixture
        between; the image's mean where every pixel is foreground.

    Raises:
        ValueError: another fill.

    Source: ours, in place of inpainted backgrounds; docs/data.md, "Unpaired composites".
    """
    if fill not in FILLS:
        raise ValueError(f"unknown fill {fill!r}; one of {', '.join(FILLS)}")
    replaced = np.minimum(mask[..., 0] / np.float32(_OPAQUE), 1)
    side = 2 * _GROW + 1
    grown = cv2.dilate(replaced, np.ones((side, side), np.uint8))
    # A trace of weight everywhere: with nothing known, both fills end in the plain mean.
    known = _three(np.maximum(1 - grown, np.float32(1e-8)))
    wide = image.astype(np.float32)
    smooth = _mean(wide, known) if fill == "mean" else _push_pull(wide, known)
    filled = wide + _three(replaced) * (smooth - wide)
    return quantize(filled)


def _mean(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    mean: np.ndarray = (image * known).sum((0, 1)) / known.sum((0, 1))
    return mean


def _push_pull(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fills f32[h,w,3] where `known` (f32[h,w,3], a weight in [0,1]) is below 1."""
    height, width = image.shape[:2]
    if height == width == 1:
        return image
    weight = _halve(known)
    coarse = _halve(image * known) / np.maximum(weight, np.float32(1e-30))  # 0 / 0 in the padding
    filled = _push_pull(coarse, np.minimum(weight, 1))
    size = (2 * filled.shape[1], 2 * filled.shape[0])
    enlarged = cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    result: np.ndarray = enlarged + known * (image - enlarged)
    return result


def _halve(values: np.ndarray) -> np.ndarray:
    """Sums of 2x2 blocks of f32[h,w,3]; odd sides are padded with zeros."""
    height, width = values.shape[:2]
    if height % 2 or width % 2:
        values = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    size = (values.shape[1] // 2, values.shape[0] // 2)
    return 4 * cv2.resize(values, size, interpolation=cv2.INTER_AREA)


def _three(plane: np.ndarray) -> np.ndarray:
    """f32[h,w] as three equal channels: much faster than broadcasting over so few of them."""
    return cv2.merge((plane, plane, plane))

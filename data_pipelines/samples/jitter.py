"""Brightness and contrast of 8-bit images, with the truncations of the reference.

Source: specs/pih 6.3.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxharm.images.bit_depth import quantize


@dataclass(frozen=True)
class ColorJitter:
    """One drawn change: two factors and which of them comes first."""

    brightness: float
    contrast: float
    brightness_first: bool

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Changes a whole image, u8[h,w,3] -> u8[h,w,3]."""
        if self.brightness_first:
            return adjust_contrast(adjust_brightness(image, self.brightness), self.contrast)
        return adjust_brightness(adjust_contrast(image, self.contrast), self.brightness)


def draw_jitter(rng: np.random.Generator, *, brightness: float, contrast: float) -> ColorJitter:
    """Factors uniform in 1 -+ `brightness` and 1 -+ `contrast`, in either order."""
    return ColorJitter(
        brightness=float(rng.uniform(1 - brightness, 1 + brightness)),
        contrast=float(rng.uniform(1 - contrast, 1 + contrast)),
        brightness_first=bool(rng.random() < 0.5),
    )


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """trunc(clip(factor * x, 0, 255)) of u8[h,w,3]."""
    return _blend_from(0, image, factor)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """trunc(clip(g + factor * (x - g), 0, 255)) of u8[h,w,3], g the rounded mean of its luma."""
    wide = image.astype(np.int32)
    luma = (19595 * wide[..., 0] + 38470 * wide[..., 1] + 7471 * wide[..., 2] + 32768) >> 16
    return _blend_from(int(luma.mean() + 0.5), image, factor)


def _blend_from(gray: int, image: np.ndarray, factor: float) -> np.ndarray:
    """From a constant gray (factor 0) to the image (factor 1) and beyond, by table."""
    values = np.arange(256, dtype=np.float32) - np.float32(gray)
    table = np.float32(gray) + np.float32(factor) * values
    return cv2.LUT(image, quantize(table, rounding="truncate"))

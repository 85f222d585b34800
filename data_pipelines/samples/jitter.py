"""Changes brightness and contrast of 8-bit images, truncating to integers as the reference does.

Source: docs/data.md, "Unpaired composites"; docs/papers/pih.md, "Training".
"""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxharm.images.bit_depth import quantize


@dataclass(frozen=True)
class ColorJitter:
    """One change: two factors and which of them is applied first."""

    brightness: float
    contrast: float
    brightness_first: bool

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Applies the change to an image, u8[h,w,3] -> u8[h,w,3]."""
        if self.brightness_first:
            return adjust_contrast(adjust_brightness(image, self.brightness), self.contrast)
        return adjust_brightness(adjust_contrast(image, self.contrast), self.brightness)


def draw_jitter(rng: np.random.Generator, *, brightness: float, contrast: float) -> ColorJitter:
    """Draws factors uniformly in 1 -+ `brightness` and 1 -+ `contrast`, and their order."""
    return ColorJitter(
        brightness=float(rng.uniform(1 - brightness, 1 + brightness)),
        contrast=float(rng.uniform(1 - contrast, 1 + contrast)),
        brightness_first=bool(rng.random() < 0.5),
    )


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Scales an image u8[h,w,3] by a factor: trunc(clip(factor * x, 0, 255))."""
    return _blend_from(0, image, factor)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Scales an image u8[h,w,3] about its mean luma g: trunc(clip(g + factor * (x - g), 0, 255)).

    g is rounded to an integer.
    """
    # Luma in 16-bit fixed point with Pillow's weights, so that g is the same integer as Pillow's.
    wide = image.astype(np.int32)
    luma = (19595 * wide[..., 0] + 38470 * wide[..., 1] + 7471 * wide[..., 2] + 32768) >> 16
    return _blend_from(int(luma.mean() + 0.5), image, factor)


def _blend_from(gray: int, image: np.ndarray, factor: float) -> np.ndarray:
    """Mixes a constant gray (factor 0) and the image (factor 1), or extrapolates, by a table."""
    # 256 entries are computed instead of every pixel; float32 as in Pillow's blend.
    values = np.arange(256, dtype=np.float32) - np.float32(gray)
    table = np.float32(gray) + np.float32(factor) * values
    return cv2.LUT(image, quantize(table, rounding="truncate"))

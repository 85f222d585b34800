"""Color science: the sRGB transfer, CIE Lab and luma.

Values are sRGB-encoded unless a name says linear. Functions with an `xp` argument compute with
numpy or, given `jax.numpy`, on an accelerator; this module itself loads no JAX.

Source: IEC 61966-2-1 (sRGB); CIE 15 (Lab), D65 white of the 2 degree observer.
"""

from types import ModuleType
from typing import Any, TypeVar

import cv2
import numpy as np

ArrayT = TypeVar("ArrayT", bound=Any)  # np.ndarray, or jax.Array where xp is jax.numpy

LUMA = np.array([0.299, 0.587, 0.114])  # weights of R, G, B in gray (ITU-R BT.601)
_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)


def to_linear(encoded: ArrayT, xp: ModuleType = np) -> ArrayT:
    """Decodes sRGB values in [0,1] to linear light."""
    linear: ArrayT = xp.where(
        encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92
    )
    return linear


def from_linear(linear: np.ndarray) -> np.ndarray:
    """Encodes linear light >= 0 as sRGB."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def exact_lab(rgb: ArrayT, xp: ModuleType = np) -> tuple[ArrayT, ArrayT, ArrayT]:
    """L, a and b of sRGB values [..., 3] in [0,1], each [..., 1], in the precision of the input."""
    linear = to_linear(rgb, xp)
    r, g, b = (linear[..., i : i + 1] for i in range(3))
    fx, fy, fz = (
        _lab_curve((row[0] * r + row[1] * g + row[2] * b) / white, xp)
        for row, white in zip(_XYZ, _WHITE, strict=True)
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Converts u8[n,3] to CIE Lab f32[n,3], L in 0..100.

    By OpenCV's interpolated tables: within 0.5 of `exact_lab` and many times faster, which
    training samples need and a metric must not have.
    """
    scaled = (rgb * np.float32(1 / 255)).reshape(-1, 1, 3)
    return cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab).reshape(-1, 3)


def from_lab(lab: np.ndarray) -> np.ndarray:
    """Converts CIE Lab f32[n,3] to f32[n,3] on the 0-255 scale, clipped to what sRGB can show."""
    rgb = cv2.cvtColor(lab.reshape(-1, 1, 3), cv2.COLOR_Lab2RGB).reshape(-1, 3)
    return rgb * np.float32(255)


def _lab_curve(t: Any, xp: ModuleType) -> Any:
    return xp.where(t > 0.008856, xp.cbrt(t), 7.787 * t + 16 / 116)

"""Between stored integers and floats: the only place where a float becomes a pixel value."""

from typing import Literal

import numpy as np
import numpy.typing as npt

# dtypes that files hold -> their largest value
LEVELS = {"uint8": 255.0, "uint16": 65535.0}
Rounding = Literal["nearest", "truncate"]


def to_unit(image: np.ndarray) -> np.ndarray:
    """Scales u8 or u16 to f32 in [0,1]; floats only become f32."""
    levels = LEVELS.get(image.dtype.name)
    if levels is None:
        return image.astype(np.float32)
    scaled: np.ndarray = np.divide(image, np.float32(levels), dtype=np.float32)
    return scaled


def from_unit(
    image: np.ndarray, dtype: npt.DTypeLike, *, rounding: Rounding = "nearest"
) -> np.ndarray:
    """Clips floats to [0,1] and scales them to `dtype`: u8, u16 or any float (which is not rounded)."""
    levels = LEVELS.get(np.dtype(dtype).name)
    if levels is None:
        image = np.clip(image, 0.0, 1.0)
        return image.astype(dtype)
    return quantize(image * np.float32(levels), dtype, rounding=rounding)


def quantize(
    values: np.ndarray, dtype: npt.DTypeLike = np.uint8, *, rounding: Rounding = "nearest"
) -> np.ndarray:
    """Clips values that are on the scale of `dtype` (0-255, 0-65535) and makes them integers.

    Args:
        values: floats or integers, any shape.
        dtype: u8 or u16.
        rounding: "nearest" (halves to the even neighbor) makes the smaller error. "truncate" drops
            the fraction, half a level darker on average: only to repeat published data or code
            that did so.

    Raises:
        ValueError: another dtype or rounding.
    """
    name = np.dtype(dtype).name
    if name not in LEVELS or rounding not in ("nearest", "truncate"):
        raise ValueError(f"cannot quantize to {name} by {rounding!r}")
    clipped: np.ndarray = np.clip(values, 0, LEVELS[name])
    # `astype` truncates towards zero; after the clip nothing is below it.
    integral: np.ndarray = np.rint(clipped) if rounding == "nearest" else clipped
    return integral.astype(dtype)

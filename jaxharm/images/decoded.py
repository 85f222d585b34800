"""What every reader of files gives: upright pixels, and what the file says about them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

_Change = Callable[[np.ndarray, np.ndarray, float], np.ndarray]

MAX_PIXELS = (
    2**30
)  # of one picture: more is a damaged header, or needs more memory than it is worth
HDR = {16: "PQ", 18: "HLG"}  # transfer functions of ITU-T H.273 that need tone mapping
MAX_PROFILE_BYTES = 8 * 2**20  # the largest profiles in use have 4 MiB


class DamagedError(Exception):
    """The bytes are not an image that can be read; the message says why, without the file's name."""


@dataclass(frozen=True)
class Tags:
    """What a file says about its pixels, to be written again with the result.

    Attributes:
        icc_profile: the profile of the pixels' color space; None: sRGB.
        dpi: pixels per inch, (horizontal, vertical).
        copyright: the notice.
        premultiplied: whether the file holds colors multiplied by alpha ("associated alpha").
            Pixels in memory never are.
    """

    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    copyright: str | None = None
    premultiplied: bool = False


@dataclass(frozen=True)
class Decoded:
    """A decoded file.

    Attributes:
        pixels: u8 or u16 [h,w,1|2|3|4]: gray, gray and alpha, RGB or RGBA, upright.
        tags: see `Tags`.
        orientation: the EXIF orientation that was applied, 1 if there was none.
        indices: u8[h,w], the entries of a palette that the pixels name; None without a palette.
        lossy: whether the file is a JPEG, whose values are near what was saved.
        frames: how many pictures the file holds; only the first is read.
    """

    pixels: np.ndarray
    tags: Tags = field(default_factory=Tags)
    orientation: int = 1
    indices: np.ndarray | None = None
    lossy: bool = False
    frames: int = 1


def check_pixel_count(width: int, height: int) -> None:
    """DamagedError for a picture without pixels, or with more than `MAX_PIXELS`."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise DamagedError(
            f"it has {width}x{height} pixels; from 1 to {MAX_PIXELS / 2**20:.0f} x 2^20 can be read"
        )


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation (1 to 8) to [h,w] or [h,w,c]; 5 to 8 exchange the sides."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # After the exchange of sides: which of the two axes runs backwards, by orientation.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def turned(decoded: Decoded, orientation: int) -> Decoded:
    """The same with an EXIF orientation applied to all of it."""
    if orientation == 1:
        return decoded
    indices = None if decoded.indices is None else upright(decoded.indices, orientation)
    pixels = upright(decoded.pixels, orientation)
    return replace(decoded, pixels=pixels, indices=indices, orientation=orientation)


def straight(pixels: np.ndarray) -> np.ndarray:
    """Divides colors by alpha: u8 or u16 [h,w,2|4] with associated alpha -> the same without.

    Multiplying again (`associated`) gives the stored values back, bit for bit, where these are
    sound, that is not above alpha.
    """
    return _by_rows(pixels, lambda color, alpha, top: color * top / np.maximum(alpha, 1))


def associated(pixels: np.ndarray) -> np.ndarray:
    """Multiplies colors by alpha, u8 or u16 [h,w,2|4]; the reverse of `straight`."""
    return _by_rows(pixels, lambda color, alpha, top: color * (alpha / top))


def _by_rows(pixels: np.ndarray, change: _Change) -> np.ndarray:
    """Applies `change` to colors, some rows at a time: floats take four times the memory."""
    top = float(np.iinfo(pixels.dtype).max)
    result = pixels.copy()
    step = max(1, 2**20 // pixels.shape[1])
    for start in range(0, len(pixels), step):
        part = pixels[start : start + step].astype(np.float64)
        color = np.rint(change(part[..., :-1], part[..., -1:], top))
        result[start : start + step, :, :-1] = np.minimum(color, top)
    return result

"""EXIF blocks: how a picture is turned, who owns it, how large it is on paper."""

import contextlib
import math
from typing import SupportsFloat

from PIL import Image

_ORIENTATION, _COPYRIGHT = 0x0112, 0x8298
_X_DPI, _Y_DPI, _UNIT = 0x011A, 0x011B, 0x0128
_PER_CM = 3


def parse(block: bytes) -> Image.Exif:
    """An EXIF block as a mapping; an unreadable one is empty."""
    exif = Image.Exif()
    # A picture is sound although its EXIF block is not; Pillow raises many kinds of errors.
    with contextlib.suppress(Exception):
        exif.load(block)
    return exif


def orientation(exif: Image.Exif) -> int:
    """The orientation, 1 to 8; 1 where there is none or it means nothing."""
    value = _entry(exif, _ORIENTATION)
    return value if isinstance(value, int) and value in range(1, 9) else 1


def copyright_notice(exif: Image.Exif) -> str | None:
    """The notice, or None."""
    value = _entry(exif, _COPYRIGHT)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip(" \0") or None if isinstance(value, str) else None


def dots_per_inch(exif: Image.Exif) -> tuple[float, float] | None:
    """Pixels per inch, or None."""
    factor = 2.54 if _entry(exif, _UNIT) == _PER_CM else 1.0
    return checked_dpi(_entry(exif, _X_DPI), _entry(exif, _Y_DPI), factor)


def checked_dpi(x: object, y: object, factor: float = 1.0) -> tuple[float, float] | None:
    """Two numbers times `factor`, or None where they cannot be pixels per inch."""
    if not (isinstance(x, SupportsFloat) and isinstance(y, SupportsFloat)):
        return None
    try:
        found = float(x) * factor, float(y) * factor
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return found if all(math.isfinite(v) and 1 < v < 1e5 for v in found) else None


def block(notice: str | None, dpi: tuple[float, float] | None) -> bytes | None:
    """The EXIF block to write with a result, or None where there is nothing to say."""
    exif = Image.Exif()
    if notice is not None:
        exif[_COPYRIGHT] = notice
    if dpi is not None:
        exif[_X_DPI], exif[_Y_DPI], exif[_UNIT] = dpi[0], dpi[1], 2
    return exif.tobytes() if len(exif) else None


def _entry(exif: Image.Exif, tag: int) -> object:
    # Entries are decoded when they are asked for, so each may fail on its own.
    try:
        value: object = exif.get(tag)
    except Exception:
        return None
    return value

"""Full-size work in pieces: small maps enlarged row by row, so that memory stays bounded."""

from collections.abc import Iterator

import cv2
import numpy as np

TILE_PIXELS = 1 << 20


def foreground_box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold every pixel of `mask` [h,w] above zero."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def row_tiles(rows: slice, width: int, pixels: int = TILE_PIXELS) -> Iterator[slice]:
    """Cuts `rows` into runs of at most `pixels` pixels of that width (at least one row)."""
    step = max(1, pixels // width)
    for start in range(rows.start, rows.stop, step):
        yield slice(start, min(start + step, rows.stop))


def enlarge_rows(small: np.ndarray, size: tuple[int, int], rows: slice) -> np.ndarray:
    """Rows `rows` of `small` [h,w] or [h,w,c<=4] resized bilinearly to `size` (height, width).

    Half-pixel centers, borders replicated, no antialiasing; the same numbers for any tiling.
    """
    height, width = size
    # Rows by hand, by their place in the whole image, columns by OpenCV: resizing each strip alone
    # would place its rows by the strip's own height, and tiles would not join.
    position = (np.arange(rows.start, rows.stop, dtype=np.float64) + 0.5) * small.shape[0] / height
    position = np.clip(position - 0.5, 0, small.shape[0] - 1)
    low = position.astype(np.int64)
    high = np.minimum(low + 1, small.shape[0] - 1)
    weight = (position - low).astype(np.float32).reshape(-1, *[1] * (small.ndim - 1))
    strip = small[low] * (1 - weight) + small[high] * weight
    enlarged: np.ndarray = cv2.resize(strip, (width, len(strip)), interpolation=cv2.INTER_LINEAR)
    return enlarged

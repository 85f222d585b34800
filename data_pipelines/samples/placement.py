"""Moves the foreground of one photograph to the place of another one's, and blends in 8 bits.

Source: docs/data.md, "Unpaired composites"; docs/papers/pih.md, "Training".
"""

import numpy as np

Shift = tuple[float, float]  # (right, down) in pixels


def place(
    image: np.ndarray, mask: np.ndarray, target_mask: np.ndarray, shift: Shift
) -> tuple[np.ndarray, np.ndarray]:
    """Moves a foreground into the bounding box of another one.

    The image is scaled about its center so that the foreground's box fits into the other box, then
    moved so that the centers of the boxes coincide, then moved by `shift`. If scaling would move
    the foreground out of the picture, its size is kept; if `shift` would, there is no shift. If one
    of the masks has no foreground, the image is only shifted.

    Args:
        image, mask: u8[h,w,3] and u8[h,w], the foreground.
        target_mask: u8[h,w], the other foreground.
        shift: whole pixels.

    Returns:
        The moved image and mask, zero where the image does not reach.
    """
    box, goal = bounding_box(mask), bounding_box(target_mask)
    if box is None or goal is None:
        return move(image, shift=shift), move(mask, shift=shift)
    scale = min((goal[i + 2] - goal[i]) / (box[i + 2] - box[i]) for i in (0, 1))
    scaled = move(mask, scale=scale)
    if not scaled.any():
        # The image is not scaled either: its foreground must stay under its mask.
        scale, scaled = 1.0, mask
    box = bounding_box(scaled)
    assert box is not None
    centered = tuple((goal[i] + goal[i + 2] - box[i] - box[i + 2]) / 2 for i in (0, 1))
    moved = (centered[0] + shift[0], centered[1] + shift[1])
    placed = move(scaled, shift=moved)
    if not placed.any():
        moved = (centered[0], centered[1])
        placed = move(scaled, shift=moved)
    return move(move(image, scale=scale), shift=moved), placed


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) of all pixels above 0, ends exclusive; None if none is."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def move(image: np.ndarray, *, scale: float = 1.0, shift: Shift = (0.0, 0.0)) -> np.ndarray:
    """Scales an image about its center, then shifts it: nearest neighbor, zero outside.

    Args:
        image: u8[h,w] or u8[h,w,3].

    Returns:
        The same shape; output pixel x takes input pixel floor((x+0.5-w/2-shift)/scale + w/2).
    """
    sides = image.shape[1], image.shape[0]
    places, inside = [], []
    for side, offset in zip(sides, shift, strict=True):
        center = side / 2
        at = np.floor((np.arange(side) + 0.5 - center - offset) / scale + center).astype(np.int64)
        places.append(np.clip(at, 0, side - 1))
        inside.append((at >= 0) & (at < side))
    # Two one-dimensional lookups instead of one over all pixels: rows first, then columns.
    moved = image.take(places[1], 0).take(places[0], 1)
    moved[~inside[1]] = 0
    moved[:, ~inside[0]] = 0
    return moved


def blend(foreground: np.ndarray, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blends two images: foreground where the mask is 255, background where 0, rounded mixtures.

    Args:
        foreground, background: u8[h,w,3].
        mask: u8[h,w].
    """
    # (v + 128 + ((v + 128) >> 8)) >> 8 is v / 255 rounded, exact for all v up to 255 * 255. Pillow
    # rounds its blends so, and 16-bit integers are faster than floats.
    alpha = mask[..., None].astype(np.uint16)
    mixed = foreground * alpha + background * (np.uint16(255) - alpha) + np.uint16(128)
    return (((mixed >> 8) + mixed) >> 8).astype(np.uint8)

"""Puts the foreground of one photograph in the place of another one's: 8-bit geometry and blend.

Source: specs/pih 6.2.
"""

import numpy as np

Shift = tuple[float, float]  # (right, down) in pixels


def place(
    image: np.ndarray, mask: np.ndarray, target_mask: np.ndarray, shift: Shift
) -> tuple[np.ndarray, np.ndarray]:
    """Moves a foreground into the bounding box of another one.

    It is scaled about the image's center so that its box fits into the other one, then moved so
    that the boxes share their center, then by `shift`. Where scaling carries it out of the
    picture it keeps its size, and where `shift` would, the shift is left out. Without any
    foreground in one of the masks it is shifted only.

    Args:
        image, mask: u8[h,w,3] and u8[h,w], the foreground.
        target_mask: u8[h,w], where to put it.
        shift: whole pixels.

    Returns:
        The image and the mask, moved, zero where nothing came to lie.
    """
    box, goal = bounding_box(mask), bounding_box(target_mask)
    if box is None or goal is None:
        return move(image, shift=shift), move(mask, shift=shift)
    scale = min((goal[i + 2] - goal[i]) / (box[i + 2] - box[i]) for i in (0, 1))
    scaled = move(mask, scale=scale)
    if not scaled.any():
        # The image keeps its size too: its foreground must stay under its mask.
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
    """(left, top, right, bottom) of the pixels above 0, ends exclusive; None if there are none."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def move(image: np.ndarray, *, scale: float = 1.0, shift: Shift = (0.0, 0.0)) -> np.ndarray:
    """Scales about the center, then shifts: nearest neighbor, zero outside.

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
    moved = image.take(places[1], 0).take(places[0], 1)
    moved[~inside[1]] = 0
    moved[:, ~inside[0]] = 0
    return moved


def blend(foreground: np.ndarray, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """foreground where the mask is 255, background where it is 0, rounded mixtures between.

    Args:
        foreground, background: u8[h,w,3].
        mask: u8[h,w].
    """
    alpha = mask[..., None].astype(np.uint16)
    mixed = foreground * alpha + background * (np.uint16(255) - alpha) + np.uint16(128)
    return (((mixed >> 8) + mixed) >> 8).astype(np.uint8)

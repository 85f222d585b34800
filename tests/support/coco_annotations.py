"""Annotations as COCO has them: boxes as polygons, masks as run lengths, plain and compressed."""

import numpy as np


def box(left: int, top: int, width: int, height: int) -> list[list[float]]:
    right, bottom = left + width, top + height
    return [[float(v) for v in (left, top, right, top, right, bottom, left, bottom)]]


def annotation(image_id: int, segmentation, area: float | None, **more) -> dict:
    entry = {"image_id": image_id, "segmentation": segmentation, "iscrowd": 0, **more}
    return entry if area is None else {**entry, "area": area}


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths of 0 and 1 in turn, column by column."""
    flat = mask.T.ravel()
    ends = [*(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    counts = np.diff([0, *ends]).tolist()
    return [0, *counts] if flat[0] else counts


def compressed(counts: list[int]) -> str:
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text

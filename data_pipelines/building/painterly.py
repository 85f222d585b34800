"""Makes the records of a painterly set: photographs with several objects, and paintings.

One mask holds all objects of a photograph: each has a gray level of its own, whatever its value.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.building.images import (
    ImageProblem,
    decode_levels,
    oriented_size,
    read_header,
    shared_orientations,
)
from data_pipelines.building.items import Item
from data_pipelines.building.record_format import ABSENT
from data_pipelines.building.records import RecordLoader, limited_size


class PainterlyLoader(RecordLoader):
    """Reads the items of a painterly set: photographs with their objects, or paintings."""

    def _load(self, item: Item) -> dict[str, Any]:
        limit = self._limits.max_megapixels
        headers = {
            role: read_header(path, is_mask=role == "mask", max_megapixels=limit)
            for role, path in item.files.items()
        }
        turns = shared_orientations(headers)
        native = oriented_size(headers["real"].size, turns["real"])
        size = limited_size(native, self._limits.max_side)
        photo = self._photo("real", item.real, headers["real"], turns["real"], size, 1)
        record = {
            "photo_id": item.real_id,
            "subset": item.subset,
            "height": size[0],
            "width": size[1],
            **dict.fromkeys(("content", "mask_levels", "style"), ABSENT),
        }
        if item.mask is None and item.drawing is None:
            return {**record, "style": photo.stored, "fg_ratio": 0.0, "levels": 0}
        levels = self._levels(item, turns)
        if levels.shape != native:
            raise ImageProblem("size_mismatch", f"{item}: mask {levels.shape}, image {native}")
        # Counted by distinct levels: files of other tools number objects with gaps.
        share, count = float((levels > 0).mean()), len(np.unique(levels[levels > 0]))
        if share in (0.0, 1.0):
            kind = "empty_mask" if share == 0 else "full_mask"
            raise ImageProblem(kind, f"{item}: objects cover {share:.0%}")
        if size != native:
            # Nearest only: a mean of two levels would be the level of another object.
            small = Image.fromarray(levels).resize(size[::-1], Image.Resampling.NEAREST)
            levels = np.asarray(small)
            count = len(np.unique(levels[levels > 0]))
        return {
            **record,
            "content": photo.stored,
            "mask_levels": _png(levels),
            "fg_ratio": share,
            "levels": count,
        }

    def _levels(self, item: Item, turns: dict[str, int]) -> np.ndarray:
        """The mask of gray levels u8[h,w], turned upright like the photograph."""
        if item.mask is not None:
            data = item.mask.read_bytes()
            return decode_levels(item.mask, data, orientation=turns["mask"])
        assert item.drawing is not None
        data = _png(item.drawing.levels())
        # Annotations refer to the stored pixels, so the drawing is turned with them. Going through
        # PNG bytes reuses the decoder of mask files; gray levels stay what they are.
        return decode_levels(Path(str(item)), data, orientation=turns["real"])


def _png(levels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue()

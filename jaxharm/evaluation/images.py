"""Saves predictions under stable names, so that others can compare."""

from pathlib import Path

import numpy as np
from PIL import Image

from jaxharm.evaluation.result import Item
from jaxharm.images.bit_depth import from_unit


class ImageSaver:
    """Observer that writes each prediction as FOLDER/<subset>/<composite_id>.png, 8 bit, lossless."""

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)

    def observe(self, item: Item) -> None:
        """Writes the prediction of one item."""
        path = self._folder / safe_name(item.row.subset) / f"{safe_name(item.row.composite_id)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(from_unit(item.prediction, np.uint8)).save(path)


def safe_name(name: str) -> str:
    """Makes a name usable as one file name: separators and a leading dot become underscores."""
    name = name.replace("/", "_").replace("\\", "_")
    return "_" + name[1:] if name.startswith(".") else name

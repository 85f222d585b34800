"""Saves predictions under stable names, so that others can compare."""

import heapq
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from jaxharm.evaluation.result import Evaluation, Item, Row
from jaxharm.images.bit_depth import from_unit
from jaxharm.images.resize import with_aspect

_SIDE = 256  # longest side of a small picture
KEPT = ("composite", "real", "harmonized")  # small pictures of every image of a sample


class ImageSaver:
    """Observer that writes each prediction as FOLDER/<subset>/<composite_id>.png, 8 bit, lossless."""

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)

    def observe(self, item: Item) -> None:
        """Writes the prediction of one item."""
        path = self._folder / safe_name(item.row.subset) / f"{safe_name(item.row.composite_id)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(from_unit(item.prediction, np.uint8)).save(path)


class SampleSaver:
    """Observer that keeps small pictures of a few images, the same ones for every model.

    Args:
        folder: gets <subset>/<composite_id>.<one of KEPT>.webp.
        limit: number of images; all of them where there are fewer.
    """

    def __init__(self, folder: str | Path, limit: int):
        self._folder = Path(folder)
        self._limit = limit
        self._heap: list[tuple[float, str, str]] = []  # the smallest rank first
        self._kept: dict[tuple[str, str], dict[str, np.ndarray]] = {}

    def observe(self, item: Item) -> None:
        """Keeps the pictures of an item where it may belong to the sample."""
        row = item.row
        entry = (sample_rank(row), row.subset, row.composite_id)
        heapq.heappush(self._heap, entry)
        dropped = heapq.heappop(self._heap) if len(self._heap) > self._limit else None
        if dropped == entry:
            return
        if dropped:
            del self._kept[dropped[1:]]
        images = (item.composite, item.target, from_unit(item.prediction, np.uint8))
        self._kept[entry[1:]] = {
            name: with_aspect(image, item.aspect, _SIDE)
            for name, image in zip(KEPT, images, strict=True)
            if image is not None  # not every system has a true picture
        }

    def write(self, evaluation: Evaluation) -> None:
        """Writes this process's pictures of the sample, after the whole evaluation."""
        ranked = sorted(evaluation.rows, key=sample_rank, reverse=True)[: self._limit]
        for key in ((row.subset, row.composite_id) for row in ranked):
            for name, image in self._kept.get(key, {}).items():
                path = kept_picture(self._folder, *key, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path, "WEBP", quality=90)


def sample_rank(row: Row) -> float:
    """Orders images for a sample, the first ones having the highest rank."""
    # A hash of the name, not a random draw: the same images for every model, and for any number of
    # processes.
    return -zlib.crc32(f"{row.subset}/{row.composite_id}".encode())


def kept_picture(folder: Path, subset: str, composite_id: str, name: str) -> Path:
    """The file in which a `SampleSaver` keeps a picture; `name` is one of `KEPT`."""
    return folder / safe_name(subset) / f"{safe_name(composite_id)}.{name}.webp"


def safe_name(name: str) -> str:
    """Makes a name usable as one file name: separators and a leading dot become underscores."""
    name = name.replace("/", "_").replace("\\", "_")
    return "_" + name[1:] if name.startswith(".") else name

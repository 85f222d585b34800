"""`varying`: a fixed evaluation set of objects whose light was changed, from your photographs.

Every object of a tree of photographs with masks gets three composites, one for each family of
`samples.lighting`, each a sub-dataset: one gain for the whole object, a field of gains, colors that
leak in from the outline. A composite depends on its name, its photograph and its mask only.

Source: docs/varying.md, "The set".
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import find_dir
from data_pipelines.building.items import Item, Tree
from data_pipelines.building.records import RecordLoader
from data_pipelines.building.report import Report
from data_pipelines.datasets.folder import scan_folder, scan_photos
from data_pipelines.samples import lighting
from data_pipelines.samples.decode import decode_record
from data_pipelines.samples.recoloring import recolor

SEED = 1311  # another one makes another data set
SUBSETS = tuple(lighting.FAMILIES)


class Varying(TreeBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Photographs whose objects got another light: gain, gain_field and poisson."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    manual_dir is a tree of `folder` (its composites are not read) or of `photos`:
      masks/<real>_<fg>.png  real_images/<real>.jpg  composite_images/  <name>_<split>.txt
      images/<id>.jpg  masks/<id>.png  <name>_<split>.txt
    """

    @property
    def subsets(self) -> tuple[str, ...]:
        """See TreeBuilder."""
        return SUBSETS

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder. Every object of the tree comes three times in a row."""
        paired = find_dir(manual_dir, "composite_images") is not None
        tree = (scan_folder if paired else scan_photos)(self.name, manual_dir, report)
        splits = {split: list(_lit(items, paired)) for split, items in tree.splits.items()}
        return Tree(tree.root, self.kind, splits, tree.held_out)

    def signature(self, source_dir: Path) -> str:
        """See TreeBuilder; includes the seed."""
        return hashlib.sha256(f"{super().signature(source_dir)} {SEED}".encode()).hexdigest()

    @classmethod
    def builder_name(cls) -> str:
        """See TreeBuilder."""
        return "varying"

    def _record_loader(self) -> RecordLoader:
        return _LitLoader(self.report, self._limits)


class _LitLoader(RecordLoader):
    """Makes the composite of a record from its photograph and mask as they are stored."""

    def load(self, item: Item) -> dict[str, Any] | None:
        """See RecordLoader."""
        record = super().load(item)
        if record is None:
            return None
        del record["photo_id"]
        ids = {key: getattr(item, key) for key in ("composite_id", "mask_id", "real_id")}
        return {"composite": _composite(item, record), **record, **ids}


def _lit(items: Iterable[Item], paired: bool) -> Iterator[Item]:
    """The objects of some items, each once, as an item of every sub-dataset."""
    seen = set()
    for item in items:
        mask_id = item.mask_id if paired else f"{item.mask_id}_1"
        if mask_id in seen:
            continue
        seen.add(mask_id)
        for k, subset in enumerate(SUBSETS, 1):
            ids = f"{mask_id}_{k}", mask_id, item.real_id
            yield Item(subset, *ids, None, item.mask, item.real, item.background)


def _composite(item: Item, record: dict[str, Any]) -> bytes:
    """The object in another light, as a PNG: nothing outside of the mask differs by coding."""
    # Decoded as training and evaluation do, so that the backgrounds are equal there.
    images = decode_record(record)
    rng = np.random.default_rng([SEED, zlib.crc32(str(item).encode())])
    mask = images["mask"].astype(np.float32) / np.float32(255)
    composite = recolor(images["real"], mask, rng, families=(item.subset,))
    return cv2.imencode(".png", composite[..., ::-1])[1].tobytes()

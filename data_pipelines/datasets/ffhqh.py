"""`ffhqh`: portraits of FFHQ in which the person is recolored (docs/papers/phnet.md)."""

from pathlib import Path
from typing import ClassVar

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import FileIndex, find_dir, locate, note_orphans, require_dir
from data_pipelines.building.items import Item, Tree
from data_pipelines.building.lists import read_ids
from data_pipelines.building.report import Report

# FFHQ indices of each split if there are no lists; the published split sizes are not known.
SPLIT_RANGES = {"train": range(60000), "val": range(60000, 63000), "test": range(63000, 70000)}
IMAGES = "images1024x1024"


class Ffhqh(TreeBuilder):
    """FFHQH: one composite per FFHQ photograph (70000 in all), the person recolored.

    Lists define the splits. Without any list, train has the FFHQ indices 0-59999, val 60000-62999
    and test 63000-69999.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Download FFHQ (1024x1024 PNG) and FFHQH (github.com/befozg/PHNet) by hand, or make the latter
    from FFHQ and portrait masks with python -m data_pipelines.making.ffhqh:
      <manual_dir>/ffhqh/  comp/00609.png  alpha/00609.png
                           train_split.txt  val_split.txt  test_split.txt
      <manual_dir>/ffhq/images1024x1024/  00609.png or 00000/00609.png
    """
    license: ClassVar[str] = "FFHQ: CC BY-NC-SA 4.0; FFHQH: a variant of CC BY-SA 4.0"

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder."""
        root = find_dir(manual_dir, "ffhqh") or manual_dir
        ffhq = find_dir(manual_dir, "ffhq") or find_dir(root.parent, "ffhq")
        folders = [require_dir(root, report, "comp"), require_dir(root, report, "alpha")]
        photos = require_dir(ffhq or manual_dir / "ffhq", report, IMAGES)
        if photos is None or None in folders:
            return Tree(root, self.kind, {})
        composites, masks = (FileIndex(folder, root, report) for folder in folders if folder)
        reals = FfhqPhotos(photos, report)
        splits: dict[str, list[Item]] = {}
        for split, ids in _ids_by_split(root, composites, report).items():
            splits[split] = items = []
            for name in ids:
                composite = locate(composites, f"{name}.png", "missing_composite", report)
                mask = locate(masks, f"{name}.png", "missing_mask", report)
                real = reals.find(name)
                if real is None:
                    report.error("missing_real", str(photos / f"{name}.png"))
                if composite and mask and real:
                    items.append(Item(self.name, name, name, name, composite, mask, real))
        note_orphans((composites, masks), report)
        return Tree(root, self.kind, splits)


class FfhqPhotos:
    """Finds the photographs of FFHQ, which are in one folder or in folders of a thousand."""

    def __init__(self, folder: Path, report: Report) -> None:
        thousands = sorted(path for path in folder.iterdir() if path.is_dir())
        self._indices = {path.name: FileIndex(path, folder, report) for path in thousands}
        self._flat = FileIndex(folder, folder, report)

    def find(self, name: str) -> Path | None:
        """The photograph with an id such as "00609", or None."""
        thousand = f"{int(name) // 1000 * 1000:05d}" if name.isdecimal() else ""
        index = self._indices.get(thousand)
        found = index.find(f"{name}.png") if index else None
        return found or self._flat.find(f"{name}.png")

    def ids(self) -> list[str]:
        """All ids, sorted."""
        indices = (*self._indices.values(), self._flat)
        return sorted({stem for index in indices for stem in index.stems()})


def split_of(name: str) -> str | None:
    """The split that SPLIT_RANGES assigns to an FFHQ index; None for any other name."""
    if not name.isdecimal():
        return None
    return next((split for split, r in SPLIT_RANGES.items() if int(name) in r), None)


def _ids_by_split(root: Path, composites: FileIndex, report: Report) -> dict[str, list[str]]:
    lists = {split: root / f"{split}_split.txt" for split in SPLIT_RANGES}
    present = {split: path for split, path in lists.items() if path.is_file()}
    absent = ", ".join(path.name for split, path in lists.items() if split not in present)
    if present:
        if absent:
            report.warn("missing_list", f"{absent} in {root}: the data set lacks these splits")
        return {split: read_ids(path, report) for split, path in present.items()}
    report.warn("missing_list", f"{absent} in {root}: splits taken from the FFHQ indices")
    ids: dict[str, list[str]] = {split: [] for split in SPLIT_RANGES}
    for name in composites.stems():
        split = split_of(name)
        if split:
            ids[split].append(name)
    return ids

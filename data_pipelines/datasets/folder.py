"""`folder`: your own pairs, in several layouts; `photos`: photographs with masks, no pairs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import FileIndex, find_dir, locate, note_orphans, require_dir
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.items import Item, Kind, Tree, ordered_splits
from data_pipelines.building.lists import (
    CompositeName,
    lists_by_split,
    parse_composite,
    read_composites,
    read_ids,
)
from data_pipelines.building.pairs import PLATES, locate_plate, scan_pairs
from data_pipelines.building.report import Report
from data_pipelines.datasets import own_pairs

# The folders of existing composites on paintings: composite, mask, painting without the object.
PAINTED = ("comp", "mask", "style")
COMPOSITES = "composite_images"  # the folder that shows the layout of iHarmony4
_ALL = ""  # the split of items that no list divides
IMAGES = ("images", "photographs")  # names of the folder of `photos`


class Folder(TreeBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Composites with their masks and real photographs.

    `split_seed` divides the photographs where no lists do; None: 0.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    manual_dir is the data set's folder, or holds it under the data set's name. Its files lie
      side by side             <name>.jpg  <name>_mask.png  <name>_real.jpg  (optional <name>_bg.png)
      or in three folders      before/<name>.jpg  after/<name>.jpg  masks/<name>.png  (bg/<name>.png)
      or as in iHarmony4       composite_images/<real>_<fg>_<k>.jpg  masks/<real>_<fg>.png
                               real_images/<real>.jpg  (bg/<real>_<fg>.png)
      <name>_<split>.txt       optional: one composite per line, one list per split; without lists
                               every fifth photograph is held back as the split val
    bg: the photograph without the foreground, for every composite or for none.
    """

    def __init__(self, *, split_seed: int | None = None, **kwargs: Any) -> None:
        self._split_seed = split_seed
        super().__init__(**kwargs)

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder. There is one split per list."""
        return scan_folder(self.name, manual_dir, report, split_seed=self._split_seed)

    @classmethod
    def builder_name(cls) -> str:
        """See TreeBuilder."""
        return "folder"


class Photos(TreeBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Photographs with masks and no pairs: composites are made from them while training."""

    kind: ClassVar[Kind] = "photos"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    manual_dir is the data set's folder, or holds it under the data set's name:
      images/<id>.jpg  masks/<id>.png     (the folder photographs/ does as well as images/)
        or several masks of one photograph: images/<photo>.jpg  masks/<photo>_<k>.png
        with ids <photo>_<k>, wherever there is no images/<photo>_<k>.jpg
      <name>_<split>.txt     one id per line, with or without an ending; one list per split
      bg/<id>.png            optional: the photograph without the foreground, for every mask
    or, for objects on paintings, three folders with files of the same names; without a list, all
    files are in the split test:
      comp/<id>.jpg  mask/<id>.png  style/<id>.jpg     style: the painting without the object
    """

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder. There is one split per list."""
        return scan_photos(self.name, manual_dir, report)

    @classmethod
    def builder_name(cls) -> str:
        """See TreeBuilder."""
        return "photos"


def named_builder(base: type[TreeBuilder], name: str) -> type[TreeBuilder]:
    """Makes a subclass of `base` whose data set is called `name`.

    Raises:
        DatasetValidationError: if `name` could not be a data set's name.
    """
    if not name.isidentifier() or not name.isascii() or name.lower() != name or name[0] == "_":
        raise DatasetValidationError(
            f"--name {name!r} is not a data set name: small letters, digits and underscores, "
            f"starting with a letter"
        )
    # TFDS takes the name of a data set from its builder class, so each name needs a class.
    members = {"name": name, "__doc__": base.__doc__, "__module__": base.__module__}
    return type(base)(base.__name__, (base,), members, skip_registration=True)  # type: ignore


def scan_folder(
    name: str, manual_dir: Path, report: Report, *, split_seed: int | None = None
) -> Tree:
    """Lists the items of a tree of pairs: one split per list, else divided by photograph."""
    root = dataset_root(manual_dir, name, COMPOSITES)
    own = None
    if find_dir(root, COMPOSITES) is None:
        own = own_pairs.find_pairs(manual_dir, report) or own_pairs.find_pairs(root, report)
        if own is None:
            text = f"{root / COMPOSITES}/ (nor are there {own_pairs.LAYOUTS})"
            report.error("missing_root", text)
            _lists(root, name, report)  # reports faults of the lists as well
            return Tree(root, "paired", {})
        root = own.root
    lists = _lists(root, name, report, required=False)
    if lists and split_seed is not None:
        found = ", ".join(path.name for path in lists.values())
        raise DatasetValidationError(f"--split-seed is for a folder without lists: here is {found}")
    splits = _own_splits(own, name, lists, report) if own else _splits(root, name, lists, report)
    if lists:
        return Tree(root, "paired", splits)
    seed = split_seed or 0
    divided = own_pairs.split_by_photograph(splits[_ALL], seed)
    share = f"one of {own_pairs.HELD_BACK} photographs, chosen by their names and the seed {seed}"
    return Tree(root, "paired", divided, f"val: {share}")


def _splits(
    root: Path, name: str, lists: Mapping[str, Path], report: Report
) -> dict[str, list[Item]]:
    """The items of a tree in iHarmony4 layout; without lists, all in one split."""
    names = {split: read_composites(path, report) for split, path in lists.items()}
    return scan_pairs(root, name, names or {_ALL: _all_composites(root, report)}, report)


def _all_composites(root: Path, report: Report) -> list[CompositeName]:
    found = []
    for file in FileIndex(find_dir(root, COMPOSITES) or root, root, report).names():
        name = parse_composite(file)
        if name is None:
            report.error("bad_file_name", f"{COMPOSITES}/{file} is not <real>_<fg>_<k>.jpg")
        else:
            found.append(name)
    return found


def _own_splits(
    own: own_pairs.OwnPairs, name: str, lists: Mapping[str, Path], report: Report
) -> dict[str, list[Item]]:
    """The items of pairs in a layout of their own; without lists, all in one split."""
    listed = {split: read_ids(path, report) for split, path in lists.items()}
    ids = listed or {_ALL: list(own.pairs)}
    splits = {
        split: own_pairs.items_of(own, name, ids[split], report)
        for split in ordered_splits(set(ids))
    }
    own_pairs.note_others(own, report)
    return splits


def scan_photos(name: str, manual_dir: Path, report: Report) -> Tree:
    """Lists the items of photographs with masks, or of composites on paintings, one split per list."""
    root = dataset_root(manual_dir, name, PAINTED[0])
    painted = find_dir(root, PAINTED[0]) is not None
    if not painted:
        root = dataset_root(manual_dir, name, *IMAGES)
    names = [(name,) for name in PAINTED] if painted else [IMAGES, ("masks",)]
    folders = [require_dir(root, report, *folder) for folder in names]
    if None in folders:
        _lists(root, name, report)  # reports faults of the lists as well
        return Tree(root, "photos", {})
    images, masks, *rest = (FileIndex(folder, root, report) for folder in folders if folder)
    plates = rest[0] if painted else None
    plate_folder = None if painted else find_dir(root, PLATES)
    if plate_folder:
        plates = FileIndex(plate_folder, root, report)
    if painted and not any(root.glob("*.txt")):
        ids = {"test": images.stems()}
    else:
        lists = _lists(root, name, report)
        ids = {split: read_ids(path, report) for split, path in lists.items()}
    splits: dict[str, list[Item]] = {}
    for split in ordered_splits(set(ids)):
        splits[split] = items = []
        for photo in ids[split]:
            real = _photograph(images, photo, report)
            mask = locate(masks, f"{photo}.png", "missing_mask", report)
            plate = locate_plate(plates, photo, report)
            if real and mask and (plate or not plates):
                items.append(Item(name, photo, photo, photo, None, mask, real, plate))
    note_orphans((images, masks, plates), report)
    return Tree(root, "photos", splits)


def _photograph(images: FileIndex, name: str, report: Report) -> Path | None:
    """The photograph of a mask: of its name, or of that without `_<k>`, the mask's number."""
    photo, _, number = name.rpartition("_")
    if images.find(f"{name}.jpg") is None and photo and number.isdigit():
        shared = images.find(f"{photo}.jpg")
        if shared is not None:
            return shared
    return locate(images, f"{name}.jpg", "missing_real", report)


def dataset_root(manual_dir: Path, name: str, *landmarks: str) -> Path:
    """Finds the folder that holds one of `landmarks`: `manual_dir`, or a folder `name` in it."""
    if find_dir(manual_dir, *landmarks) is None:
        inner = find_dir(manual_dir, name)
        if inner is not None:
            return inner
    return manual_dir


def _lists(root: Path, name: str, report: Report, *, required: bool = True) -> dict[str, Path]:
    if not root.is_dir():
        report.error("missing_root", str(root))
        return {}
    return lists_by_split(root, (name, root.name), report, required=required)

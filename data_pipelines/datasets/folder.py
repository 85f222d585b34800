"""`folder`: your own composites in iHarmony4 layout; `photos`: photographs with masks, no pairs."""

from pathlib import Path
from typing import ClassVar

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import FileIndex, find_dir, locate, note_orphans, require_dir
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.items import Item, Kind, Tree, ordered_splits
from data_pipelines.building.lists import lists_by_split, read_composites, read_ids
from data_pipelines.building.pairs import PLATES, locate_plate, scan_pairs
from data_pipelines.building.report import Report

# The folders of existing composites on paintings: composite, mask, painting without the object.
PAINTED = ("comp", "mask", "style")


class Folder(TreeBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Composites with their masks and real photographs, in the layout of iHarmony4."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    manual_dir is the data set's folder, or holds it under the data set's name:
      composite_images/<real>_<fg>_<k>.jpg  masks/<real>_<fg>.png  real_images/<real>.jpg
      <name>_<split>.txt     one composite file name per line; one list per split
      bg/<real>_<fg>.png     optional: the photograph without the foreground, for every mask
    """

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder. There is one split per list."""
        return scan_folder(self.name, manual_dir, report)

    @classmethod
    def builder_name(cls) -> str:
        """See TreeBuilder."""
        return "folder"


class Photos(TreeBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Photographs with one mask each and no pairs: composites are made from them while training."""

    kind: ClassVar[Kind] = "photos"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    manual_dir is the data set's folder, or holds it under the data set's name:
      images/<id>.jpg  masks/<id>.png
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


def scan_folder(name: str, manual_dir: Path, report: Report) -> Tree:
    """Lists the items of a tree in iHarmony4 layout, one split per list."""
    root = dataset_root(manual_dir, name, "composite_images")
    lists = _lists(root, name, report)
    names = {split: read_composites(path, report) for split, path in lists.items()}
    return Tree(root, "paired", scan_pairs(root, name, names, report))


def scan_photos(name: str, manual_dir: Path, report: Report) -> Tree:
    """Lists the items of photographs with masks, or of composites on paintings, one split per list."""
    root = dataset_root(manual_dir, name, PAINTED[0])
    painted = find_dir(root, PAINTED[0]) is not None
    if not painted:
        root = dataset_root(manual_dir, name, "images")
    names = PAINTED if painted else ("images", "masks")
    folders = [require_dir(root, report, folder) for folder in names]
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
            real = locate(images, f"{photo}.jpg", "missing_real", report)
            mask = locate(masks, f"{photo}.png", "missing_mask", report)
            plate = locate_plate(plates, photo, report)
            if real and mask and (plate or not plates):
                items.append(Item(name, photo, photo, photo, None, mask, real, plate))
    note_orphans((images, masks, plates), report)
    return Tree(root, "photos", splits)


def dataset_root(manual_dir: Path, name: str, landmark: str) -> Path:
    """Finds the folder that holds `landmark`: `manual_dir`, or a folder `name` in it."""
    if find_dir(manual_dir, landmark) is None:
        inner = find_dir(manual_dir, name)
        if inner is not None:
            return inner
    return manual_dir


def _lists(root: Path, name: str, report: Report) -> dict[str, Path]:
    if not root.is_dir():
        report.error("missing_root", str(root))
        return {}
    return lists_by_split(root, (name, root.name), report)

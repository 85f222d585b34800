"""`ccharmony`: composites made by giving a foreground the light of another photograph."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import FileIndex, find_dir, require_dir
from data_pipelines.building.items import Tree
from data_pipelines.building.lists import (
    CompositeName,
    drop_duplicates,
    list_for_split,
    parse_composite,
    read_lines,
)
from data_pipelines.building.pairs import find_pairs
from data_pipelines.building.report import Report, logger

COMPOSITES_PER_FOREGROUND = 10
PUBLISHED = {"train": 3080, "test": 1180}  # composites
FOLDERS = (
    ("composite_images", "composite", "comp"),
    ("masks", "mask", "foreground_masks"),
    ("real_images", "real"),
)
_IMAGE_ENDING = re.compile(r"\.(?:jpg|jpeg|png)", re.IGNORECASE)
_FOREGROUND = re.compile(r"(.+)_([a-z])")


class Ccharmony(TreeBuilder):
    """ccHarmony: 3080 training and 1180 test composites, ten per foreground, of 350 photographs."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Download ccHarmony by hand from the links of
    github.com/bcmi/Image-Harmonization-Dataset-ccHarmony, or make such a set from photographs with
    a color chart with python -m data_pipelines.making.ccharmony:
      <manual_dir>/ccHarmony/  train_list.txt  test_list.txt  (or ccHarmony_train.txt ...)
          composite_images/8D5U5531_a_1.jpg ... _10.jpg   masks/8D5U5531_a.png
          real_images/8D5U5531.jpg
    A list line is a foreground (8D5U5531_a: its ten composites) or a composite's file name. The
    folders may also be called composite or comp, mask or foreground_masks, and real; composites may
    be in one folder per foreground (composite_images/8D5U5531_a/8D5U5531_a_1.jpg).
    For non-commercial research only.
    """
    license: ClassVar[str] = (
        "repository: MIT; photographs of the NUS and Gehler sets: research only"
    )

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder."""
        root = find_dir(manual_dir, "ccHarmony") or manual_dir
        names: dict[str, list[CompositeName]] = {}
        for split, published in PUBLISHED.items():
            names[split] = _split_names(root, split, report)
            if names[split] and len(names[split]) != published:
                text = f"{split}: {len(names[split])} composites listed, {published} published"
                report.warn("count_mismatch", text)
        folders = [require_dir(root, report, *spellings) for spellings in FOLDERS]
        if None in folders:
            return Tree(root, self.kind, {})
        found = [folder for folder in folders if folder]
        logger.info("%s: reading %s", root, ", ".join(f"{folder.name}/" for folder in found))
        composites = NestedIndex(found[0], root, report)
        masks, reals = (FileIndex(folder, root, report) for folder in found[1:])
        splits = find_pairs(self.name, names, (composites, masks, reals), report)
        return Tree(root, self.kind, splits, "test: the official list")


class NestedIndex:
    """Looks up composites that are in one folder or in one folder per foreground."""

    def __init__(self, folder: Path, root: Path, report: Report) -> None:
        self.folder = folder
        self._flat = FileIndex(folder, root, report)
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
        self._inner = {path.name.lower(): FileIndex(path, root, report) for path in inner}

    def find(self, name: str) -> Path | None:
        """The composite `<foreground>_<k>.<ending>` in either place."""
        found = self._flat.find(name)
        index = self._inner.get(name.rpartition("_")[0].lower())
        return found or (index.find(name) if index else None)

    def orphans(self) -> Iterable[Path]:
        """The files that were never looked up."""
        for index in (self._flat, *self._inner.values()):
            yield from index.orphans()


def read_names(path: Path, report: Report) -> list[CompositeName]:
    """Reads a list of foreground ids or composite file names; each composite is returned once.

    A foreground id `<image>_<letter>` means its composites k = 1..10; both kinds of line may be
    mixed. Ids of images may hold underscores: names are split from the right.

    Source: docs/data.md, "Layouts".
    """
    names: dict[str, CompositeName] = {}
    keyed = []
    for line in read_lines(path, report):
        is_file = _IMAGE_ENDING.fullmatch(os.path.splitext(line.text)[1])
        expanded = [parse_composite(line.text)] if is_file else expand(line.text)
        for name in expanded:
            if name is None:
                text = f"{line} is neither <image>_<letter> nor <image>_<letter>_<k>.jpg"
                report.error("bad_list_line", text)
            else:
                names.setdefault(name.composite_id, name)
                keyed.append((name.composite_id, line))
    return [names[key] for key, _ in drop_duplicates(keyed, report)]


def expand(foreground: str) -> list[CompositeName | None]:
    """The ten composites of a foreground id; [None] if the text is no foreground id."""
    image = image_of(foreground)
    if image is None:
        return [None]
    ids = [f"{foreground}_{k}" for k in range(1, COMPOSITES_PER_FOREGROUND + 1)]
    return [CompositeName(f"{name}.jpg", name, foreground, image) for name in ids]


def image_of(foreground: str) -> str | None:
    """The image id of a foreground id `<image>_<letter>`; None if it has another form."""
    match = _FOREGROUND.fullmatch(foreground)
    return match.group(1) if match and "/" not in foreground else None


def _split_names(root: Path, split: str, report: Report) -> list[CompositeName]:
    """The composites of a split from either of its two lists, or from both if they agree."""
    if not root.is_dir():
        report.error("missing_root", str(root))
        return []
    own = next((p for p in root.iterdir() if p.name.lower() == f"{split}_list.txt"), None)
    other = list_for_split(root, "ccHarmony", split, report)
    lists = [path for path in (own, other) if path]
    if not lists:
        report.error("missing_list", f"{root / f'{split}_list.txt'}")
        return []
    found = [read_names(path, report) for path in lists]
    ids = [{name.composite_id for name in names} for names in found]
    differing = sorted(ids[0] ^ ids[-1])  # empty if there is one list
    if differing:
        both = " and ".join(path.name for path in lists)
        report.error(
            "list_disagreement",
            f"{both} differ in {len(differing)} names: {', '.join(differing[:10])}",
        )
    return found[0]

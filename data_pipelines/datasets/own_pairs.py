"""Pairs as people keep them: side by side, or in folders before/, after/ and masks/; their splits.

Source: docs/data.md, "Your own pairs".
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from data_pipelines.building.files import FileIndex, find_dir, note_orphans
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.items import Item, ordered_splits
from data_pipelines.building.report import Report

HELD_BACK = 5  # of this many photographs, one is for validation
LAYOUTS = (
    "folders before/, after/ and masks/, or files <name>_mask.* and <name>_real.* side by side"
)
Names: TypeAlias = dict[str, tuple[str, ...]]
_BEFORE, _AFTER = ("before", "composites", "composite"), ("after", "real", "reals")
_ROLE = re.compile(r"(.+)_(composite|mask|real|gt|bg)", re.IGNORECASE)


@dataclass(frozen=True)
class OwnPairs:
    """Where the files of pairs are, and how they are called.

    Attributes:
        root: of the pairs.
        files: role -> its files: composite, mask, real, and bg where there are plates.
        names: role -> how a file of it may be called, the pair's name in place of {}.
        pairs: the names of all pairs, sorted.
    """

    root: Path
    files: Mapping[str, FileIndex]
    names: Mapping[str, tuple[str, ...]]
    pairs: tuple[str, ...]


def find_pairs(root: Path, report: Report) -> OwnPairs | None:
    """The pairs that lie in a folder; None where it has none of these layouts."""
    folders = {
        "composite": find_dir(root, *_BEFORE),
        "mask": find_dir(root, "masks", "mask"),
        "real": find_dir(root, *_AFTER),
        "bg": find_dir(root, "bg"),
    }
    if all(folders[role] for role in ("composite", "mask", "real")):
        files = {role: FileIndex(f, root, report) for role, f in folders.items() if f}
        called: Names = {role: ("{}", f"{{}}_{role}") for role in files}
        return OwnPairs(root, files, called, tuple(sorted({*files["composite"].stems()})))
    if not root.is_dir():
        return None
    index = FileIndex(root, root, report)
    matches = [_ROLE.fullmatch(stem) for stem in index.stems()]
    roles = {match[2].lower() for match in matches if match}
    if "mask" not in roles or not roles & {"real", "gt"}:
        return None
    plain = [stem for stem, match in zip(index.stems(), matches, strict=True) if not match]
    marked = [match[1] for match in matches if match and match[2].lower() == "composite"]
    names: Names = {
        "composite": ("{}", "{}_composite"),
        "mask": ("{}_mask",),
        "real": ("{}_real", "{}_gt"),
    }
    if "bg" in roles:
        names["bg"] = ("{}_bg",)
    return OwnPairs(root, dict.fromkeys(names, index), names, tuple(sorted({*plain, *marked})))


def items_of(own: OwnPairs, subset: str, pairs: Iterable[str], report: Report) -> list[Item]:
    """The complete pairs among `pairs`; what is missing is reported."""
    items = []
    for pair in pairs:
        found = {role: _locate(own, role, pair, report) for role in own.files}
        composite, mask, real = (found[role] for role in ("composite", "mask", "real"))
        plate = found.get("bg")
        if composite and mask and real and (plate or "bg" not in own.files):
            items.append(Item(subset, pair, pair, pair, composite, mask, real, plate))
    return items


def note_others(own: OwnPairs, report: Report) -> None:
    """Warns of the files that belong to no pair."""
    note_orphans(list(dict.fromkeys(own.files.values())), report)


def _locate(own: OwnPairs, role: str, pair: str, report: Report) -> Path | None:
    """The file of a pair in a role."""
    ending = ".jpg" if role in ("composite", "real") else ".png"  # another one is found as well
    names = [name.format(pair) + ending for name in own.names[role]]
    index = own.files[role]
    path = next((path for path in map(index.find, names) if path), None)
    if path is None:
        kind = "missing_background" if role == "bg" else f"missing_{role}"
        report.error(kind, str(index.folder / names[0]))
    return path


def split_by_photograph(items: list[Item], seed: int) -> dict[str, list[Item]]:
    """Divides pairs into train and val; those of one photograph stay together.

    One photograph of five, at least one, is for validation. Which ones depends on their names and
    the seed, so that a photograph mostly stays where it is when others are added.

    Raises:
        DatasetValidationError: there is one photograph only.
    """
    photographs = _by_photograph(items)
    if len(photographs) == 1:
        raise DatasetValidationError(
            f"there is one photograph only, {items[0].real.name}: a run needs others to be "
            "evaluated on; add pairs of another photograph"
        )
    ranked = sorted(
        photographs, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest()
    )
    held_back = {
        id(item)
        for name in ranked[: max(1, round(len(ranked) / HELD_BACK))]
        for item in photographs[name]
    }
    splits: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        splits["val" if id(item) in held_back else "train"].append(item)
    return {split: splits[split] for split in ordered_splits(set(splits))}


def _by_photograph(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Name of a photograph -> its items. Equal files are one photograph, whatever their names."""
    items = list(items)
    sizes = Counter(path.stat().st_size for path in {item.real for item in items})
    first: dict[bytes, str] = {}
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        name = item.real_id
        if sizes[item.real.stat().st_size] > 1:  # others cannot be equal, and are not read
            name = first.setdefault(hashlib.sha256(item.real.read_bytes()).digest(), name)
        found[name].append(item)
    return dict(found)

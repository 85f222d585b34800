"""What a scan of a user's tree yields: the items of every split, each with its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_pipelines.building.report import Report
from data_pipelines.datasets.coco import Drawing

Kind = Literal["paired", "photos", "painterly"]
SPLIT_ORDER = ("train", "val", "validation", "test")


@dataclass(frozen=True)
class Item:
    """One line of a list. Only for the kind "paired" are there a composite and three ids.

    A photograph of the kind "painterly" has a mask file or a drawing of its objects, a painting
    neither.
    """

    subset: str
    composite_id: str
    mask_id: str
    real_id: str
    composite: Path | None
    mask: Path | None
    real: Path
    background: Path | None = None  # the plate: the photograph without the foreground
    drawing: Drawing | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The item's files by role, in the order composite, real, mask, background."""
        named = {
            "composite": self.composite,
            "real": self.real,
            "mask": self.mask,
            "background": self.background,
        }
        return {role: path for role, path in named.items() if path is not None}

    def __str__(self) -> str:
        return f"{self.subset}/{self.composite_id}"


@dataclass(frozen=True)
class Tree:
    """All items of a data set, split by split, in the order of the lists.

    `held_out` says in words what the held-back splits hold, where the builder knows.
    """

    root: Path
    kind: Kind
    splits: dict[str, list[Item]]
    held_out: str = ""


def ordered_splits(names: set[str]) -> list[str]:
    """train, val, validation, test first, then the others by name."""
    known = [name for name in SPLIT_ORDER if name in names]
    return known + sorted(names - set(known))


def check_overlap(tree: Tree, report: Report) -> None:
    """Notes composites in two splits (error) and photographs in two splits (warning)."""
    where: dict[tuple[str, str, str], str] = {}
    reported: set[tuple[str, str]] = set()
    for split, items in tree.splits.items():
        for item in items:
            first = where.setdefault(("composite", item.subset, item.composite_id), split)
            if first != split:
                report.error("split_overlap", f"{item} in {first} and {split}")
            first = where.setdefault(("real", item.subset, item.real_id), split)
            photo = (item.subset, item.real_id)
            if first != split and tree.kind == "paired" and photo not in reported:
                reported.add(photo)
                text = f"photograph {item.subset}/{item.real_id} in {first} and {split}"
                report.warn("split_overlap", text)

"""The result of scanning a user's files: the items of every split, each with its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

Kind = Literal["paired", "photos", "painterly"]
TRAINED = "train"  # the split to train on
EVALUATED = ("val", "validation", "test")  # splits to evaluate on, the first that there is
SPLIT_ORDER = (TRAINED, *EVALUATED)


class Drawing(Protocol):
    """The objects of a photograph, as outlines or codes that are drawn when they are needed."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the photograph that the objects were marked on."""
        ...

    def levels(self) -> np.ndarray:
        """u8[h,w]: 0 outside, and one gray level above 0 for each object."""
        ...


@dataclass(frozen=True)
class Item:
    """The files and ids that one record is made of.

    Only a "paired" item has a composite and three different ids. Of a "painterly" set, a photograph
    has a mask file or a drawing of its objects, and a painting has neither.
    """

    subset: str
    composite_id: str
    mask_id: str
    real_id: str
    composite: Path | None
    mask: Path | None
    real: Path
    background: Path | None = None  # the background plate: the photograph without the foreground
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

    `held_out` describes the test and validation splits in words; empty if the builder cannot know.
    """

    root: Path
    kind: Kind
    splits: dict[str, list[Item]]
    held_out: str = ""


def ordered_splits(names: set[str]) -> list[str]:
    """Sorts split names: train, val, validation, test, then all others alphabetically."""
    known = [name for name in SPLIT_ORDER if name in names]
    return known + sorted(names - set(known))

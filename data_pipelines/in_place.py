"""Reads a tree of image files without building a data set; checks and records are the same."""

import functools
import os
from pathlib import Path
from typing import Any

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.items import Item
from data_pipelines.building.records import Limits, RecordLoader
from data_pipelines.building.report import OnError, Report
from data_pipelines.building.scanning import scan_checked
from data_pipelines.datasets.folder import scan_folder, scan_photos

_SCANS = {"paired": scan_folder, "photos": scan_photos}


class PlainSource:
    """The records of one split of a tree, made from its files at every access; picklable."""

    def __init__(self, where: str, items: list[Item], limits: Limits) -> None:
        self._where = where
        self._items = items
        self._limits = limits

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        report = Report(self._where)
        record = RecordLoader(report, self._limits).load(self._items[index])
        report.raise_errors()
        if record is None:
            raise DatasetValidationError(f"{self._items[index]} in {self._where} cannot be used")
        return record

    def __repr__(self) -> str:
        return f"PlainSource({self._where!r}, {len(self)} records)"


def open_folder(
    root: str | os.PathLike,
    split: str,
    *,
    name: str | None = None,
    kind: str = "paired",
    on_error: OnError = "raise",
    max_side: int = 0,
) -> PlainSource:
    """Opens a tree with the records that the builder `folder` or `photos` would store.

    Lists, files and headers of all splits are checked at once, pixels when a record is read.

    Args:
        root: the folder with composite_images/ or images/, or its parent.
        split: the part of a list's name between the last underscore and .txt.
        name: the part before it; default the folder's name.
        kind: "paired" (as `folder`) or "photos".
        on_error, max_side: as for `build.build`.

    Returns:
        A source with the records of `reading.open_source`.

    Raises:
        DatasetValidationError: lists all faults, or the splits that exist.
    """
    root = Path(root)
    name = name or root.name
    if kind not in _SCANS:
        raise DatasetValidationError(f"kind {kind!r} is none of {', '.join(_SCANS)}")
    report = Report(f"{name} in {root}", on_error=on_error)
    limits = Limits(max_side)
    tree = scan_checked(functools.partial(_SCANS[kind], name), root, report, limits)
    report.raise_errors()
    report.log()
    if split not in tree.splits:
        raise DatasetValidationError(
            f"{root} has no split {split!r}; it has {', '.join(tree.splits) or 'none'}"
        )
    return PlainSource(f"{name} in {root}", tree.splits[split], limits)

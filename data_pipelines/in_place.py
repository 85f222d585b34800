"""Reads a tree in place, without building a data set: the same checks, the same records."""

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
    """The records of one split of a tree, read from its files at every access; picklable."""

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
            raise DatasetValidationError(f"{self._items[index]} in {self._where} is unusable")
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
    """Opens a tree as `folder` (kind "paired") or `photos` would build it.

    Lists, files and headers of all splits are checked now, pixels when a record is read.

    Args:
        root: the folder with composite_images/ or images/, or its parent.
        split: the ending of a list's name.
        name: what the lists start with; default the folder's name.

    Returns:
        A source with the records of `sources.open_source`.

    Raises:
        DatasetValidationError: naming everything that is wrong, or the splits that there are.
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

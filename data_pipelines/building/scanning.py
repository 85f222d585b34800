"""Scans a tree and checks lists and file headers before anything is written."""

from collections.abc import Callable
from pathlib import Path

from data_pipelines.building.items import Tree
from data_pipelines.building.records import HeaderCheck, Limits
from data_pipelines.building.report import Report


def scan_checked(
    scan: Callable[[Path, Report], Tree], source_dir: Path, report: Report, limits: Limits
) -> Tree:
    """Runs `scan` and keeps the items whose file headers are sound; faults go to `report`."""
    tree = scan(source_dir, report)
    check_overlap(tree, report)
    _check_plates(tree, report)
    headers = HeaderCheck(report, limits)
    splits = {
        split: [item for item in items if headers.passes(item)]
        for split, items in tree.splits.items()
    }
    kept = {split: items for split, items in splits.items() if items}
    return Tree(tree.root, tree.kind, kept, tree.held_out)


def check_overlap(tree: Tree, report: Report) -> None:
    """Reports composites (error) and photographs (warning) that occur in two splits."""
    where: dict[tuple[str, str, str], str] = {}
    reported: set[tuple[str, str]] = set()
    for split, items in tree.splits.items():
        for item in items:
            first = where.setdefault(("composite", item.subset, item.composite_id), split)
            if first != split:
                report.error("split_overlap", f"{item} in {first} and {split}")
            first = where.setdefault(("real", item.subset, item.real_id), split)
            photo = (item.subset, item.real_id)
            # Only a warning: official lists must be usable as they are.
            if first != split and tree.kind == "paired" and photo not in reported:
                reported.add(photo)
                text = f"photograph {item.subset}/{item.real_id} in {first} and {split}"
                report.warn("split_overlap", text)


def _check_plates(tree: Tree, report: Report) -> None:
    """Reports the items without a background plate if other items have one."""
    items = [item for items in tree.splits.values() for item in items]
    if any(item.background for item in items):
        for item in items:
            if item.background is None:
                report.error("missing_background", f"{item} has none, others have one")

"""Finds the files of composites and their photographs, masks and plates."""

from pathlib import Path

from data_pipelines.building.files import (
    FileIndex,
    Index,
    find_dir,
    locate,
    note_orphans,
    require_dir,
)
from data_pipelines.building.items import Item, ordered_splits
from data_pipelines.building.lists import CompositeName
from data_pipelines.building.report import Report

PLATES = "bg"  # the folder of background plates, where a tree has it


def scan_pairs(
    root: Path, subset: str, names: dict[str, list[CompositeName]], report: Report
) -> dict[str, list[Item]]:
    """Finds the files of every listed composite of a tree in iHarmony4 layout."""
    folders = [require_dir(root, report, f) for f in ("composite_images", "masks", "real_images")]
    if None in folders:
        return {}
    composites, masks, reals = (FileIndex(folder, root, report) for folder in folders if folder)
    plates = find_dir(root, PLATES)
    index = FileIndex(plates, root, report) if plates else None
    return find_pairs(subset, names, (composites, masks, reals), report, plates=index)


def find_pairs(
    subset: str,
    names: dict[str, list[CompositeName]],
    indices: tuple[Index, Index, Index],
    report: Report,
    *,
    plates: Index | None = None,
) -> dict[str, list[Item]]:
    """Finds the files of every listed composite.

    Args:
        subset: the sub-dataset that the items belong to.
        names: the composites of every split, in the order of the lists.
        indices: where to find composites, masks and real photographs.
        report: collects what is missing.
        plates: where to find background plates, if the tree has them.

    Returns:
        The complete items of every split.
    """
    composites, masks, reals = indices
    splits: dict[str, list[Item]] = {}
    for split in ordered_splits(set(names)):
        splits[split] = items = []
        for name in names[split]:
            composite = locate(composites, name.file, "missing_composite", report)
            mask = locate(masks, f"{name.mask_id}.png", "missing_mask", report)
            real = locate(reals, f"{name.real_id}.jpg", "missing_real", report)
            plate = locate_plate(plates, name.mask_id, report)
            if composite and mask and real and (plate or not plates):
                ids = (name.composite_id, name.mask_id, name.real_id)
                items.append(Item(subset, *ids, composite, mask, real, plate))
    note_orphans((*indices, plates), report)
    return splits


def locate_plate(plates: Index | None, name: str, report: Report) -> Path | None:
    """A background plate by name; None without a finding if the tree has no plates."""
    return locate(plates, f"{name}.png", "missing_background", report) if plates else None

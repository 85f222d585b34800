"""One page of two runs: the pictures that both kept when they were evaluated, side by side."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxharm.errors import InputError
from jaxharm.evaluation.columns import REFERENCE
from jaxharm.evaluation.gallery import data_uri, render_page
from jaxharm.evaluation.images import KEPT, kept_picture

_RESULT = KEPT[-1]
Rows = Mapping[tuple[str, str], Mapping[str, str]]


def write_comparison(first: Path, second: Path, file: Path) -> int:
    """Writes the page; returns the number of images on it.

    Args:
        first, second: folders of two runs that were evaluated on one data set.
        file: the page.

    Raises:
        InputError: a run was not evaluated, or the two kept no image in common.
    """
    folders = {_name(first, second): first / "eval", _name(second, first): second / "eval"}
    rows = {name: _rows(folder) for name, folder in folders.items()}
    (one, two), decides = folders, REFERENCE.decides
    cards = list[dict[str, Any]]()
    for key in sorted(rows[one].keys() & rows[two].keys()):
        pictures = _pictures(folders, key)
        if pictures is None:
            continue
        before, after = (_number(rows[name][key].get(decides, "nan")) for name in folders)
        cards.append(
            {
                "id": key[1],
                "subset": key[0],
                "group": "both",
                "ratio": _number(rows[one][key]["fg_ratio"]),
                "before": before,
                "after": after,
                "more": "",
                "captions": {},
                "images": pictures,
                "maps": [],
            }
        )
    if not cards:
        raise InputError(
            f"{first} and {second} kept pictures of no image in common: evaluate both on one data set"
        )
    means = [_mean(rows[name], decides) for name in folders]
    column = REFERENCE.columns[decides]
    shown = " → ".join("-" if mean is None else f"{mean:.{column.decimals}f}" for mean in means)
    text = render_page(
        title=f"{one} and {two}",
        facts=[("images", str(len(rows[one].keys() & rows[two].keys()))), (column.title, shown)],
        lead=f"{len(cards)} images of which both kept pictures. Values read {one} → {two}.",
        notes=[f"{name}: {folder.parent}" for name, folder in folders.items()],
        error_range=0,
        decides=column,
        cards=cards,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return len(cards)


def _name(folder: Path, other: Path) -> str:
    """The folder's own name, with its parent's where both are called alike."""
    own, others = folder.resolve(), other.resolve()
    return own.name if own.name != others.name else f"{own.parent.name}/{own.name}"


def _rows(folder: Path) -> Rows:
    file = folder / "per_image.csv"
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            return {(row["subset"], row["composite_id"]): row for row in csv.DictReader(opened)}
    except OSError:
        raise InputError(
            f"{file} is not there: evaluate the run first (jaxharm eval --workdir {folder.parent})"
        ) from None


def _pictures(folders: Mapping[str, Path], key: tuple[str, str]) -> dict[str, str] | None:
    """Panel -> picture; None where a run kept none of this image."""
    first = next(iter(folders.values()))
    files = {name: kept_picture(first / "kept", *key, name) for name in KEPT[:-1]}
    files |= {run: kept_picture(folder / "kept", *key, _RESULT) for run, folder in folders.items()}
    if not all(files[run].is_file() for run in folders):
        return None
    # Not every system has a true picture.
    found = {name: file for name, file in files.items() if file.is_file()}
    return {
        name: data_uri(np.asarray(Image.open(file).convert("RGB"))) for name, file in found.items()
    }


def _number(text: str) -> float | None:
    value = float(text or "nan")
    return round(value, 4) if math.isfinite(value) else None


def _mean(rows: Mapping[Any, Mapping[str, str]], metric: str) -> float | None:
    values = [float(row.get(metric) or "nan") for row in rows.values()]
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None

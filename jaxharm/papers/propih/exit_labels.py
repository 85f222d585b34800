"""At which stage an image should leave: labels made by people, or from the results themselves.

Both are a csv file of the columns `id` and `stage` (1 to 4), one line per composite.
Source: specs/propih 3.3 (our design).
"""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxharm.errors import InputError
from jaxharm.papers.propih.model import STAGES

_COLUMNS = ["id", "stage"]
_RARE = 0.05  # share below which a stage has too few labels to be learned


def automatic_labels(style: np.ndarray, content: np.ndarray, beta: float) -> np.ndarray:
    """The stage with the smallest style error plus `beta` times its content error.

    Args:
        style: f[4,n], the style error of every stage's result relative to the composite's: 1 =
            untouched, 0 = perfect.
        content: f[4,n], the content error relative to the mean one of stage 4.
        beta: weight of the content.

    Returns:
        i[n], 1 to 4; the smaller stage of equal ones.
    """
    chosen: np.ndarray = 1 + np.argmin(style + beta * content, 0)
    return chosen


def read_labels(path: str | Path) -> dict[str, int]:
    """Id of a composite -> stage.

    Raises:
        InputError: no such file, other columns, an id twice, or a stage outside of 1 to 4.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"label file {path} does not exist: give a csv file with the columns id,stage, or "
            "objective.labels=automatic"
        )
    labels: dict[str, int] = {}
    with path.open(newline="") as file:
        rows = csv.reader(file)
        if [cell.strip() for cell in next(rows, [])] != _COLUMNS:
            raise InputError(f"{path} must begin with the line: {','.join(_COLUMNS)}")
        for number, row in enumerate(rows, 2):
            if not row:
                continue
            if len(row) != len(_COLUMNS) or row[1].strip() not in map(str, range(1, STAGES + 1)):
                raise InputError(
                    f"{path} line {number}: {','.join(row)} is not an id and a stage from 1 to "
                    f"{STAGES}"
                )
            if row[0] in labels:
                raise InputError(f"{path} line {number}: {row[0]} has a label already")
            labels[row[0]] = int(row[1])
    return labels


def write_labels(path: Path, labels: Mapping[str, int]) -> None:
    """Writes a label file."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([_COLUMNS, *labels.items()])


def histogram(stages: np.ndarray) -> dict[int, int]:
    """Stage -> how many labels it has."""
    counts = Counter(np.asarray(stages).tolist())
    return {stage: counts.get(stage, 0) for stage in range(1, STAGES + 1)}


def rare_stages(counts: Mapping[int, int]) -> list[int]:
    """Stages with less than 5 percent of the labels."""
    return [stage for stage, count in counts.items() if count < _RARE * sum(counts.values())]

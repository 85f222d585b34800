"""Whether two runs did the same: their settings, every row of their curves, their weights."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxharm.config import Json
from jaxharm.errors import InputError
from jaxharm.interfaces import PyTree
from jaxharm.storage import local_copy
from jaxharm.training.logging import CLOCK, CURVE, RECORD
from jaxharm.weights.portable import RUN_WEIGHTS, load_variables
from jaxharm.weights.same_run import Changes, differences


@dataclass(frozen=True)
class Difference:
    """The first place at which two things differ: "step 7, train loss", and both values."""

    place: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.place}: {self.first} and {self.second}"


@dataclass(frozen=True)
class Comparison:
    """The outcome.

    Attributes:
        settings: of the configs and the training data, by key; they decide nothing here.
        rows: how many rows of the curves were compared.
        curve: the first difference among them, or None.
        arrays: how many arrays of the exported weights were compared.
        weights: the first difference among them, or None.
    """

    settings: Changes
    rows: int
    curve: Difference | None
    arrays: int
    weights: Difference | None

    @property
    def equal(self) -> bool:
        """Whether both runs gave the same numbers, bit for bit."""
        return self.curve is None and self.weights is None


def compare_runs_in(first: str | Path, second: str | Path) -> Comparison:
    """Compares two run folders; speed and waiting times are left out.

    Raises:
        InputError: a folder that holds no run, or an unreadable file of it.
    """
    folders = [local_copy(place, _without_states) for place in (first, second)]
    records = [read_record(folder) for folder in folders]
    a, b = ({**record["config"], "dataset": record.get("dataset")} for record in records)
    rows, curve = _compare_curves(*(_rows(folder) for folder in folders))
    arrays, weights = _compare_weights(*folders)
    return Comparison(dict(differences(a, b)), rows, curve, arrays, weights)


def _without_states(names: list[str]) -> list[str]:
    """What is compared of a run in a bucket: the rest may be large."""
    return [name for name in names if name in (CURVE, RECORD) or name.startswith(f"{RUN_WEIGHTS}/")]


def _compare_curves(first: list[Json], second: list[Json]) -> tuple[int, Difference | None]:
    for number, (a, b) in enumerate(itertools.zip_longest(first, second)):
        if a is None or b is None:
            row = a or b
            place = f"step {row['step']}, {row['kind']}"
            return number, Difference(place, *("there" if r else "missing" for r in (a, b)))
        for key in {**a, **b}:
            if a.get(key, "missing") != b.get(key, "missing"):
                place = f"step {min(a['step'], b['step'])}, {a['kind']} {key}"
                return number + 1, Difference(place, a.get(key, "missing"), b.get(key, "missing"))
    return len(first), None


def _compare_weights(first: Path, second: Path) -> tuple[int, Difference | None]:
    there = [(folder / RUN_WEIGHTS).is_dir() for folder in (first, second)]
    if not any(there):
        return 0, None
    if not all(there):
        return 0, Difference("weights", *("there" if t else "missing" for t in there))
    a, b = (dict(_leaves(load_variables(folder)[2])) for folder in (first, second))
    for name in {**a, **b}:
        if name not in a or name not in b:
            return len(a), Difference(name, *("there" if name in x else "missing" for x in (a, b)))
        if a[name].shape != b[name].shape:
            return len(a), Difference(name, list(a[name].shape), list(b[name].shape))
        if a[name].tobytes() != b[name].tobytes():
            i = int(np.argmax(np.abs(a[name].astype(np.float64) - b[name].astype(np.float64))))
            return len(a), Difference(f"{name}, entry {i}", a[name].flat[i], b[name].flat[i])
    return len(a), None


def _leaves(tree: PyTree) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield "/".join(str(entry.key) for entry in path), np.asarray(leaf)


def read_record(place: str | Path) -> Json:
    """The run.json of a run folder, or at that very path; InputError where there is none."""
    run = local_copy(place, _without_states)
    file = run if run.is_file() else run / RECORD
    try:
        record: Json = json.loads(file.read_text())
    except OSError as error:
        raise InputError(f"{run} holds no run: it has no {RECORD}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise InputError(f"{file} is no record of a run: it has no config")
    return record


def _rows(folder: Path) -> list[Json]:
    file = folder / CURVE
    if not file.is_file():
        return []
    rows = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(
                f"{file}, line {number} is no JSON: is the run still going?"
            ) from error
        rows.append({key: value for key, value in row.items() if key not in CLOCK})
    return rows

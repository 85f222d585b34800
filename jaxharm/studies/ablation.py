"""Several runs over several seeds, compared: what a study is, and its table.

`jaxharm study` makes the runs; a study's file defines get_study(), as the published studies do.
"""

import dataclasses
import json
import math
import statistics
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from jaxharm.config import RunConfig
from jaxharm.config_file import find_config, import_file, load_config
from jaxharm.errors import InputError
from jaxharm.evaluation.columns import columns_of
from jaxharm.evaluation.summary import ALL
from jaxharm.measures import Column
from jaxharm.studies.published import Published

Measured = Mapping[str, Any]  # content of a metrics.json
Results = Mapping[str, Mapping[int, Measured]]  # run -> seed -> what was measured


class Spread(TypedDict):
    """Values of a metric by seed; `std` is that of a sample (n - 1), None with one seed only."""

    mean: float
    std: float | None
    values: dict[int, float]
    difference: NotRequired["Spread"]  # to the reference, seed by seed


class Row(TypedDict):
    """A measured run in a summary."""

    seeds: list[int]
    metrics: dict[str, Spread]


class Summary(TypedDict):
    """A study's results.

    `columns` describes its metrics, `baseline` is metric -> value of the untouched composites, None
    where they have none.
    """

    protocol: str
    images: int
    data: str
    reference: str
    columns: dict[str, Column]
    baseline: dict[str, float | None]
    rows: dict[str, Row]


@dataclass(frozen=True)
class Run:
    """One row of a study, or a run that other rows start from.

    Attributes:
        name: of its folder and its row.
        config: config file.
        overlays, sets: as for train.py; in `sets`, {NAME} stands for the folder of the run NAME of
            the same seed, which must come earlier in the study.
        measured: False for a run that is no row, such as a teacher.
        once: one run for all seeds, with the study's first one.
    """

    name: str
    config: str
    overlays: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    measured: bool = True
    once: bool = False


@dataclass(frozen=True)
class Study:
    """Runs in the order in which they are made and shown; differences are taken to the first row.

    Attributes:
        runs: at least one of them measured.
        seeds: every run is made with each of them.
        about: a sentence for the head of its reports, such as what its numbers do not mean.
        published: figures of papers that belong beside it.
    """

    runs: tuple[Run, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    about: str = ""
    published: tuple[Published, ...] = ()

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the measured runs."""
        return tuple(run.name for run in self.runs if run.measured)


@dataclass(frozen=True)
class Job:
    """One run with one seed.

    Attributes:
        run: what is run.
        seed: its seed.
        folder: its work folder.
        sets: the settings, folders filled in.
        record: the resolved config with {NAME} left as it is, to recognize the run again.
        number: its place in the plan, from 1.
        needs: numbers of the jobs that it starts from.
        batch_size: of its training.
    """

    run: Run
    seed: int
    folder: Path
    sets: tuple[str, ...]
    record: dict[str, object]
    number: int
    needs: tuple[int, ...]
    batch_size: int

    @property
    def label(self) -> str:
        """The run and its seed, for people."""
        return f"{self.run.name} seed {self.seed}"


def load_study(name: str | Path, seeds: Sequence[int] = (), only: Sequence[str] = ()) -> Study:
    """Loads the study of a file, perhaps with other seeds or only some of its rows.

    Rows that are left out stay where a chosen one needs them.

    Args:
        name: a published study, "MODEL/STUDY" as under configs/, or the path of a Python file.
        seeds: instead of the study's own.
        only: names of the rows to keep; all of them if empty.

    Raises:
        InputError: no such file, nothing measured, a name twice or not usable, unknown rows, or a
            {NAME} that is no earlier run.
    """
    path = find_config(name)
    module = import_file(path)
    if not hasattr(module, "get_study"):
        raise InputError(f"{path} defines no get_study()")
    study: Study = module.get_study()
    names = [run.name for run in study.runs]
    if len(set(names)) < len(names) or not all(_is_name(name) for name in names):
        raise InputError(f"{path}: run names must differ and be letters, digits, '_', '-' or '.'")
    for i, run in enumerate(study.runs):
        wrong = sorted(_needs(run) - set(names[:i]))
        if wrong:
            raise InputError(
                f"{path}: run {run.name!r} needs {wrong[0]!r}, which is no earlier run"
            )
    unknown = sorted(set(only) - set(names))
    if unknown:
        raise InputError(f"{path} has no run {unknown[0]!r}; it has {', '.join(names)}")
    if only:
        study = dataclasses.replace(study, runs=_with_needs(study.runs, set(only)))
    if seeds:
        study = dataclasses.replace(study, seeds=tuple(dict.fromkeys(seeds)))
    if not study.rows or not study.seeds:
        raise InputError(f"{path}: a study needs at least one measured run and one seed")
    return study


def plan(study: Study, workdir: Path, sets: Sequence[str] = ()) -> list[Job]:
    """Lists every job in order; all configs are loaded, so that a mistake shows before any run.

    Args:
        sets: settings of all runs, such as data.data_dir.

    Raises:
        InputError: a config, overlay or setting is not right.
    """
    jobs: list[Job] = []
    shared: dict[str, Job] = {}  # the runs that are made once for all seeds
    for seed in study.seeds:
        made = dict(shared)  # of this seed, by name
        for run in study.runs:
            if run.name in made:
                continue
            folder = workdir / run.name / ("once" if run.once else f"seed{seed}")
            known = {name: job.folder for name, job in made.items()}
            given = [*run.sets, *sets, f"seed={seed}"]
            config = load_config(run.config, run.overlays, given)
            filled = tuple(item.format(**known) if item in run.sets else item for item in given)
            needs = tuple(sorted(made[name].number for name in _needs(run)))
            record, batch = _recognizable(config), config.data.batch_size
            job = Job(run, seed, folder, filled, record, len(jobs) + 1, needs, batch)
            jobs.append(job)
            made[run.name] = job
            if run.once:
                shared[run.name] = job
    return jobs


def summarize(study: Study, results: Results) -> Summary:
    """Computes mean and deviation per row, and paired differences to the first row.

    Differences are row minus reference, seed by seed: what a seed does to both rows cancels.

    Raises:
        InputError: the results are of different protocols or data.
    """
    every = [result for of in results.values() for result in of.values()]
    if not every:
        raise InputError("no run of the study is finished")
    facts = {(r["protocol"], r[ALL]["count"], r["statement"]["evaluated"]["data"]) for r in every}
    if len(facts) > 1:
        raise InputError(f"the runs cannot be compared: they were measured on {sorted(facts)}")
    columns = {
        name: column
        for name, column in columns_of(every[0]).items()
        if all(_known(result[ALL].get(name)) for result in every)
    }
    first = results.get(study.rows[0], {})
    rows = {
        name: _row(of, {} if name == study.rows[0] else first, list(columns))
        for name in study.rows
        if (of := results.get(name))
    }
    protocol, images, data = facts.pop()
    return {
        "protocol": protocol,
        "images": images,
        "data": data,
        "reference": study.rows[0],
        "columns": columns,
        "baseline": {metric: every[0]["baseline"][ALL].get(metric) for metric in columns},
        "rows": rows,
    }


def _row(
    results: Mapping[int, Measured], reference: Mapping[int, Measured], metrics: Sequence[str]
) -> Row:
    found = {}
    for metric in metrics:
        values = {seed: result[ALL][metric] for seed, result in sorted(results.items())}
        paired = {s: v - reference[s][ALL][metric] for s, v in values.items() if s in reference}
        found[metric] = _spread(values)
        if paired:
            found[metric]["difference"] = _spread(paired)
    return {"seeds": sorted(results), "metrics": found}


def table(summary: Summary) -> str:
    """Writes a summary as Markdown: values, then differences."""
    columns = summary["columns"]
    heads = ["run", "seeds", *(column.title for column in columns.values())]
    ruler = "|---|---:|" + "---:|" * len(columns)
    lines = [
        "# Ablation",
        "",
        f"- data: {summary['data']}, {summary['images']} images, protocol {summary['protocol']}",
        "- mean ± standard deviation over the seeds (n - 1)",
        "",
        f"| {' | '.join(heads)} |",
        ruler,
    ]
    unchanged = [_number(summary["baseline"][m], c.decimals) for m, c in columns.items()]
    lines.append(f"| composite | | {' | '.join(unchanged)} |")
    for name, row in summary["rows"].items():
        cells = [_cell(row["metrics"][m], c.decimals) for m, c in columns.items()]
        lines.append(f"| {name} | {len(row['seeds'])} | {' | '.join(cells)} |")
    differing = {
        name: {m: values["difference"] for m, values in row["metrics"].items()}
        for name, row in summary["rows"].items()
        if all("difference" in values for values in row["metrics"].values())
    }
    if differing:
        lines += ["", f"Paired differences to {summary['reference']}, seed by seed:", ""]
        lines += [f"| {' | '.join(heads)} |", ruler]
        for name, spreads in differing.items():
            cells = [_cell(spreads[m], c.decimals, sign="+") for m, c in columns.items()]
            count = len(next(iter(spreads.values()))["values"])
            lines.append(f"| {name} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def read_results(jobs: Sequence[Job]) -> dict[str, dict[int, Measured]]:
    """Reads the measurements of jobs that are finished."""
    results: dict[str, dict[int, Measured]] = {}
    for job in jobs:
        if job.run.measured:
            text = (job.folder / "eval" / "metrics.json").read_text()
            results.setdefault(job.run.name, {})[job.seed] = json.loads(text)
    return results


def _is_name(name: str) -> bool:
    return bool(name) and name[0] != "." and all(c.isalnum() or c in "_-." for c in name)


def _needs(run: Run) -> set[str]:
    """Finds the runs that `run` names in its settings."""
    parts = (part for item in run.sets for part in string.Formatter().parse(item))
    return {field for _, field, _, _ in parts if field}


def _with_needs(runs: Sequence[Run], chosen: set[str]) -> tuple[Run, ...]:
    """Keeps the chosen runs and, not measured, those that they start from."""
    kept: list[Run] = []
    needed: set[str] = set()
    for run in reversed(runs):
        if run.name in chosen or run.name in needed:
            needed |= _needs(run)
            measured = run.measured and run.name in chosen
            kept.append(dataclasses.replace(run, measured=measured))
    return tuple(reversed(kept))


def _recognizable(config: RunConfig) -> dict[str, object]:
    """Reduces a config to what decides a run's numbers, as plain JSON values."""
    # Not where the data lie or how many workers read them: another machine may go on with the study.
    data = dataclasses.replace(config.data, data_dir=None, num_workers=0, num_threads=0)
    plain: dict[str, object] = json.loads(
        json.dumps(dataclasses.asdict(dataclasses.replace(config, data=data)))
    )
    return plain


def _spread(values: Mapping[int, float]) -> Spread:
    found = list(values.values())
    std = statistics.stdev(found) if len(found) > 1 else None
    return {"mean": statistics.fmean(found), "std": std, "values": dict(values)}


def _cell(spread: Spread, decimals: int, sign: str = "") -> str:
    std = spread["std"]
    text = f"{spread['mean']:{sign}.{decimals}f}"
    return text if std is None else f"{text} ± {std:.{decimals}f}"


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

"""The reports of a study: table.md, results.json, two CSV files and one HTML page."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jaxharm.images import write_whole
from jaxharm.studies.ablation import (
    Job,
    Measured,
    Study,
    Summary,
    read_results,
    summarize,
    table,
)
from jaxharm.studies.page import page
from jaxharm.studies.paired import Paired, paired_rows, paired_table
from jaxharm.studies.published import published_table
from jaxharm.studies.subsets import subset_table

PairedRows = Mapping[str, Mapping[str, Paired]]


def write_reports(study: Study, jobs: Sequence[Job], workdir: Path, *, planned: int) -> str:
    """Writes all reports, each of them whole at any time; returns the content of table.md.

    Args:
        study: what is compared.
        jobs: its finished jobs, at least a measured one.
        workdir: folder of the reports.
        planned: number of jobs of the whole study.

    Raises:
        InputError: the runs were not measured on the same data, or by the same protocol.
    """
    results = read_results(jobs)
    summary = summarize(study, results)
    reference, columns = summary["reference"], summary["columns"]
    rows = paired_rows(_files(jobs), reference, columns)
    about = f"{study.about}\n\n" if study.about else ""
    text = table(summary).replace("\n- data:", f"\n{about}- data:", 1)
    text += subset_table(study.rows, results, columns) + paired_table(rows, reference, columns)
    text += published_table(study.published)
    everything = {**summary, "paired": rows}
    files = {
        "table.md": text,
        "results.json": json.dumps(everything, indent=1, default=dataclasses.asdict) + "\n",
        "results.csv": _results_csv(results, summary),
        "paired.csv": _paired_csv(rows),
        "report.html": page(study, jobs, summary, rows, workdir.name, planned=planned),
    }
    for name, content in files.items():
        write_whole(workdir / name, content.encode())
    return text


def _results_csv(results: Mapping[str, Mapping[int, Measured]], summary: Summary) -> str:
    """A row for every run, seed and metric; the untouched composite has no seed."""
    lines: list[Sequence[object]] = [("run", "seed", "metric", "value")]
    before = summary["baseline"].items()
    lines += [("composite", "", metric, value) for metric, value in before if value is not None]
    for name, row in summary["rows"].items():
        for seed in row["seeds"]:
            values = results[name][seed]["All"]
            lines += [(name, seed, metric, values[metric]) for metric in row["metrics"]]
    return _csv(lines)


def _paired_csv(rows: PairedRows) -> str:
    fields = [field.name for field in dataclasses.fields(Paired)]
    lines: list[Sequence[object]] = [("run", "metric", *fields)]
    for name, of in rows.items():
        lines += [(name, metric, *dataclasses.astuple(found)) for metric, found in of.items()]
    return _csv(lines)


def _csv(lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _files(jobs: Sequence[Job]) -> dict[str, dict[int, Path]]:
    """Run -> seed -> the measurements of every image."""
    found: dict[str, dict[int, Path]] = {}
    for job in jobs:
        file = job.folder / "eval" / "per_image.csv"
        if job.run.measured and file.is_file():
            found.setdefault(job.run.name, {})[job.seed] = file
    return found

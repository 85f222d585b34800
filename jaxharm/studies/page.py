"""The page of a study: tables, paired differences, learning curves and strips of images.

It is one file that needs no network: drawings are SVG, pictures are embedded.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2

from jaxharm.measures import Column
from jaxharm.studies.ablation import Job, Spread, Study, Summary
from jaxharm.studies.curves import COLORS, Curve, charts, interval, read_log
from jaxharm.studies.paired import Paired
from jaxharm.studies.published import Published
from jaxharm.studies.strips import strips


@dataclass(frozen=True)
class Difference:
    """A run in the table of paired differences, as texts, and its drawing."""

    run: str
    seeds: int
    value: str
    interval: str
    svg: str
    better: str
    p: str
    needed: str


def page(
    study: Study,
    jobs: Sequence[Job],
    summary: Summary,
    rows: Mapping[str, Mapping[str, Paired]],
    name: str,
    *,
    planned: int,
) -> str:
    """Makes the page.

    Args:
        study: what is compared.
        jobs: its finished jobs.
        summary, rows: what was measured, and the paired differences.
        name: of the study, for the title.
        planned: number of jobs of the whole study.
    """
    columns = summary["columns"]
    compared = [metric for metric, column in columns.items() if column.headline]
    return _template().render(
        title=name,
        about=study.about,
        summary=summary,
        finished=len(jobs),
        planned=planned,
        heads=[column.title for column in columns.values()],
        composite=[_number(column, summary["baseline"][m]) for m, column in columns.items()],
        values=[
            (run, len(row["seeds"]), [_spread(c, row["metrics"][m]) for m, c in columns.items()])
            for run, row in summary["rows"].items()
        ],
        colors={run: i % COLORS for i, run in enumerate(summary["rows"])},
        differences=[
            (columns[metric], _differences(rows, metric, columns[metric]))
            for metric in compared
            if any(metric in of for of in rows.values())
        ],
        charts=charts(_logs(jobs), {metric: columns[metric].title for metric in compared[:2]}),
        strips=strips(jobs, compared[0], columns[compared[0]].decimals) if compared else [],
        strip_metric=columns[compared[0]].title if compared else "",
        published=[_published(of) for of in study.published],
    )


def _logs(jobs: Sequence[Job]) -> dict[str, list[dict[str, Curve]]]:
    """Measured run -> what each of its seeds logged."""
    found: dict[str, list[dict[str, Curve]]] = {}
    for job in jobs:
        file = job.folder / "metrics.jsonl"
        if job.run.measured and file.is_file():
            found.setdefault(job.run.name, []).append(read_log(file))
    return found


def _differences(
    rows: Mapping[str, Mapping[str, Paired]], metric: str, column: Column
) -> list[Difference]:
    of_metric = {run: of[metric] for run, of in rows.items() if metric in of}
    reach = max(max(abs(p.low), abs(p.high), abs(p.difference)) for p in of_metric.values()) or 1.0
    return [_difference(run, p, column, reach) for run, p in of_metric.items()]


def _difference(run: str, found: Paired, column: Column, reach: float) -> Difference:
    digits = column.decimals
    side = 0 if found.low <= 0 <= found.high else math.copysign(1, found.difference)
    better = None if side == 0 else (side < 0) == column.lower_is_better
    return Difference(
        run=run,
        seeds=found.seeds,
        value="equal" if found.equal else f"{found.difference:+.{digits}f}",
        interval=f"{found.low:+.{digits}f} to {found.high:+.{digits}f}",
        svg=interval(found.low, found.difference, found.high, reach, better=better),
        better=f"{found.better:.3f}",
        p=f"{found.p:.3g}",
        needed="-" if found.needed is None else str(found.needed),
    )


def _published(of: Published) -> dict[str, object]:
    columns = of.columns
    return {
        "source": of.source,
        "data": of.data,
        "protocol": of.protocol,
        "heads": [column.title for column in columns.values()],
        "rows": [
            (method, [_number(column, row.get(name)) for name, column in columns.items()])
            for method, row in of.rows.items()
        ],
    }


def _spread(column: Column, spread: Spread) -> str:
    text = _number(column, spread["mean"])
    return text if spread["std"] is None else f"{text} ± {_number(column, spread['std'])}"


def _number(column: Column, value: float | None) -> str:
    return "-" if value is None else f"{value:.{column.decimals}f}"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxharm.studies", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2")

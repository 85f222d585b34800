"""A study's results for each sub-dataset: what the means over all images hide."""

import statistics
from collections.abc import Mapping, Sequence

from jaxharm.evaluation.summary import RESERVED
from jaxharm.measures import Column
from jaxharm.studies.ablation import Measured, Results


def subset_table(rows: Sequence[str], results: Results, columns: Mapping[str, Column]) -> str:
    """Writes mean and deviation over the seeds for every sub-dataset, as Markdown.

    Args:
        rows: names of the runs, in the order in which they are shown.
        results: run -> seed -> content of its metrics.json, all of one data set and protocol.
        columns: what was measured.

    Returns:
        The table; empty where the data set has one sub-dataset only.
    """
    every = [result for of in results.values() for result in of.values()]
    subsets = [name for name in every[0] if name not in RESERVED] if every else []
    if len(subsets) < 2:
        return ""
    shown = {"composite": [every[0]["baseline"]]}
    shown |= {name: list(results[name].values()) for name in rows if name in results}
    heads = ["sub-dataset", "run", *(column.title for column in columns.values())]
    lines = ["", "By sub-dataset:", "", f"| {' | '.join(heads)} |"]
    lines.append("|---|---|" + "---:|" * len(columns))
    for subset in subsets:
        for name, measured in shown.items():
            cells = [_cell(measured, subset, *column) for column in columns.items()]
            lines.append(f"| {subset} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(measured: Sequence[Measured], subset: str, metric: str, column: Column) -> str:
    """Mean, and deviation of a sample, over the seeds."""
    values = [result[subset].get(metric) for result in measured]
    if None in values:
        return "-"
    text = f"{statistics.fmean(values):.{column.decimals}f}"
    return text if len(values) < 2 else f"{text} ± {statistics.stdev(values):.{column.decimals}f}"

"""Means per sub-dataset, per foreground bin and over all images."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from jaxharm.errors import InputError
from jaxharm.measures import Measures, Values
from jaxharm.metrics.accumulate import harm_share, improvement_share, mean_of
from jaxharm.metrics.bins import NAMES, bin_name

ALL = "All"
# Keys of a result file.
RESERVED = (ALL, "protocol", "baseline", "methods", "statement")

# Metric -> mean, beside counts and bins: see `summarize`.
Means: TypeAlias = dict[str, Any]


class Measured(Protocol):
    """What is asked of the row of an image; see `result.Row`."""

    @property
    def subset(self) -> str: ...

    @property
    def ratio(self) -> float: ...

    @property
    def baseline(self) -> dict[str, float]: ...

    def values(self, measures: Measures, /) -> Values: ...


def summarize(rows: Sequence[Measured], method: str, measures: Measures) -> Means:
    """Averages of a method over images, sub-datasets weighted by their size.

    Args:
        rows: the `Row`s.
        method: one of `measures.methods`.
        measures: what was measured.

    Returns:
        sub-dataset or "All" -> {metric: mean, ..., "count": images, "improved": share of images
        that are better than the composite by the metric that decides, "made_worse": share of those
        that are more than 10 % worse (both not of the composite), "undefined": {metric: left-out values}, "bins": {bin: {"count", and the metrics that sum a
        result up}}}. A mean of nothing is NaN.
    """
    subsets = sorted({row.subset for row in rows})
    clash = set(subsets) & set(RESERVED)
    if clash:
        raise InputError(f"a sub-dataset must not be called {clash.pop()!r}; rename it")
    groups = {name: [row for row in rows if row.subset == name] for name in subsets}
    return {
        name: _group(group, method, measures) for name, group in {**groups, ALL: list(rows)}.items()
    }


def _group(rows: Sequence[Measured], method: str, measures: Measures) -> Means:
    values = [row.values(measures)[method] for row in rows]
    means = {name: mean_of(of[name] for of in values) for name in values[0]}
    result: Means = {name: mean.value for name, mean in means.items()}
    result["count"] = len(rows)
    if method != measures.baseline:
        errors = [of[measures.decides] for of in values]
        before = [row.baseline[measures.decides] for row in rows]
        result["improved"] = improvement_share(errors, before).value
        result["made_worse"] = harm_share(errors, before).value
    result["undefined"] = {name: mean.undefined for name, mean in means.items() if mean.undefined}
    result["bins"] = {name: _bin(rows, values, name, measures.headlines) for name in NAMES}
    return result


def _bin(
    rows: Sequence[Measured], values: Sequence[dict[str, float]], name: str, metrics: Sequence[str]
) -> Means:
    inside = [of for row, of in zip(rows, values, strict=True) if bin_name(row.ratio) == name]
    means = {metric: mean_of(of[metric] for of in inside).value for metric in metrics}
    return {"count": len(inside), **means}

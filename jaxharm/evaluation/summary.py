"""Means per sub-dataset, per foreground bin and over all images."""

from collections.abc import Sequence
from typing import Any, Literal

from jaxharm.errors import InputError
from jaxharm.metrics.accumulate import improvement_share, mean_of
from jaxharm.metrics.bins import NAMES, bin_name

ALL = "All"
_BIN_METRICS = ("mse", "fmse", "psnr")
RESERVED = (ALL, "protocol", "baseline", "statement")  # keys of a result file


def summarize(rows: Sequence[Any], which: Literal["model", "baseline"]) -> dict[str, Any]:
    """Averages of `Row`s over images, sub-datasets weighted by their size.

    Returns:
        sub-dataset or "All" -> {metric: mean, ..., "count": images, "improved": share of images
        with an fMSE below the composite's (model only), "undefined": {metric: left-out values},
        "bins": {bin: {"count", "mse", "fmse", "psnr"}}}. A mean of nothing is NaN.
    """
    subsets = sorted({row.subset for row in rows})
    clash = set(subsets) & set(RESERVED)
    if clash:
        raise InputError(f"a sub-dataset must not be called {clash.pop()!r}; rename it")
    groups = {name: [row for row in rows if row.subset == name] for name in subsets}
    return {name: _group(group, which) for name, group in {**groups, ALL: list(rows)}.items()}


def _group(rows: Sequence[Any], which: str) -> dict[str, Any]:
    values = [getattr(row, which) for row in rows]
    means = {name: mean_of(v[name] for v in values) for name in values[0]}
    result: dict[str, Any] = {name: mean.value for name, mean in means.items()}
    result["count"] = len(rows)
    if which == "model":
        fmse = [[getattr(row, part)["fmse"] for row in rows] for part in ("model", "baseline")]
        result["improved"] = improvement_share(*fmse).value
    result["undefined"] = {name: mean.undefined for name, mean in means.items() if mean.undefined}
    result["bins"] = {name: _bin(rows, values, name) for name in NAMES}
    return result


def _bin(rows: Sequence[Any], values: Sequence[dict[str, float]], name: str) -> dict[str, Any]:
    inside = [v for row, v in zip(rows, values, strict=True) if bin_name(row.ratio) == name]
    means = {metric: mean_of(v[metric] for v in inside).value for metric in _BIN_METRICS}
    return {"count": len(inside), **means}

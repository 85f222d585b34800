"""Result files: metrics.json, table.md and per_image.csv."""

import csv
import dataclasses
import json
import math
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import jax

from jaxharm.evaluation.columns import REFERENCE
from jaxharm.evaluation.result import Evaluation
from jaxharm.evaluation.summary import ALL
from jaxharm.measures import Column
from jaxharm.metrics.bins import NAMES
from jaxharm.metrics.protocols import statement

# Of a protocol: how images are brought to size.
_SIZING = ("name", "size", "resolution", "image_resize", "mask_resize", "note", "blend")
# Of the images of a row, which shares are shown: key -> heading.
SHARES = {"improved": "improved", "made_worse": "made worse by more than 10 %"}
_PACKAGES = ("jaxharm", "jax", "flax", "numpy", "opencv-python-headless", "pillow")


def write_report(
    evaluation: Evaluation, folder: str | Path, *, about: Mapping[str, str] | None = None
) -> None:
    """Writes the three files on process 0.

    Args:
        evaluation: of `evaluate`.
        folder: made where absent.
        about: what was evaluated, such as model, weights, data set and split; shown in each file.
    """
    if jax.process_index():
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    result = as_json(evaluation, about or {})
    text = json.dumps(result, indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    (folder / "table.md").write_text(as_table(evaluation, about or {}), encoding="utf-8")
    _write_rows(evaluation, folder / "per_image.csv")


def as_json(evaluation: Evaluation, about: Mapping[str, str]) -> dict[str, object]:
    """Makes the content of metrics.json; undefined values are null.

    {"<subset>" | "All": {"mse", "fmse", "psnr", "fpsnr", "ssim", "fssim", "count", "bins", ...},
    "protocol": name, "baseline": the same rows of the untouched composite, "methods": method ->
    its rows, where more is measured than the model and the composite, "statement": how the numbers
    came about, and what the metrics are called}.
    """
    measures, stated_protocol = evaluation.measures, statement(evaluation.protocol)
    if measures is not REFERENCE:  # how errors are taken says nothing about other measures
        stated_protocol = {name: stated_protocol[name] for name in _SIZING}
    stated = {
        **stated_protocol,
        "against": measures.against,
        "columns": {name: dataclasses.asdict(c) for name, c in measures.columns.items()},
        "notes": list(evaluation.notes),
        "images": len(evaluation.rows),
        "undefined": evaluation.summary[ALL]["undefined"],
        "evaluated": dict(about),
        "versions": versions(),
    }
    content = {
        **evaluation.summary,
        "protocol": evaluation.protocol.name,
        "baseline": evaluation.baseline,
        **({"methods": evaluation.methods} if _has_others(evaluation) else {}),
        "statement": stated,
    }
    # allow_nan=False when it is written: a NaN would make a file that few programs read.
    return {key: _plain(value) for key, value in content.items()}


def as_table(evaluation: Evaluation, about: Mapping[str, str]) -> str:
    """Makes the content of table.md: the model beside the untouched composite, and other methods."""
    measures, methods = evaluation.measures, evaluation.methods
    columns = _shown(evaluation)
    heads = ["subset", "images", "method", *(c.title for c in columns.values()), *SHARES.values()]
    lines = ["# Evaluation", "", *(f"- {key}: {value}" for key, value in about.items())]
    lines += [f"- {line}" for line in describe(evaluation)]
    lines += [
        "",
        f"| {' | '.join(heads)} |",
        "|---|" + "---:|" + "---|" + "---:|" * (len(heads) - 3),
    ]
    for subset in evaluation.summary:
        # Of a sub-dataset only what matters most: the whole has every method.
        every = subset == ALL
        own = (measures.baseline, measures.model)
        for number, method in enumerate(m for m in measures.methods if every or m in own):
            row = methods[method][subset]
            title = f"**{subset}**" if every else subset
            first = f"{title} | {row['count']}" if number == 0 else "|"
            cells = " | ".join(_number(row.get(n), c.decimals) for n, c in columns.items())
            shares = " | ".join(_percent(row[key]) if key in row else "" for key in SHARES)
            lines.append(f"| {first} | {_method(evaluation, method)} | {cells} | {shares} |")
    decides = measures.columns[measures.decides].title
    lines += [
        "",
        f"improved: share of images with a {decides} below the composite's. made worse by more than "
        f"10 %: share of images with a {decides} more than 10 % above the composite's.",
        "",
    ]
    return "\n".join([*lines, *_bins_table(evaluation)]) + "\n"


def _bins_table(evaluation: Evaluation) -> list[str]:
    """The model and the composite by size of the foreground, and what sums them up."""
    measures = evaluation.measures
    columns = [measures.columns[name] for name in measures.headlines]
    heads = ["foreground", "images", "method", *(column.title for column in columns)]
    lines = ["## By foreground ratio (all images)", "", f"| {' | '.join(heads)} |"]
    lines.append("|---|---:|---|" + "---:|" * len(columns))
    for name in NAMES:
        for method in (measures.baseline, measures.model):
            values = evaluation.methods[method][ALL]["bins"][name]
            first = f"{name} % | {values['count']}" if method == measures.baseline else "|"
            cells = " | ".join(
                _number(values[key], column.decimals)
                for key, column in zip(measures.headlines, columns, strict=True)
            )
            lines.append(f"| {first} | {_method(evaluation, method)} | {cells} |")
    return lines


def describe(evaluation: Evaluation) -> list[str]:
    """States the protocol and what was left out, in sentences."""
    p, undefined = evaluation.protocol, evaluation.summary[ALL]["undefined"]
    size = (
        f"{p.size}x{p.size}, images {p.image_resize}, masks {p.mask_resize}"
        if p.size
        else (f"native size, masks {p.mask_resize}")
    )
    compared = (
        f"foreground weights {p.mask}, MSE over {p.mse} pixels, PSNR peak {p.peak}, SSIM {p.ssim}, "
        f"prediction {'clipped' if p.clip else 'not clipped'}, quantization {p.quantize}, blending "
        "as the model's own specification"
        if evaluation.measures is REFERENCE
        else f"measured against {evaluation.measures.against}"
    )
    left_out = ", ".join(f"{count} {name}" for name, count in undefined.items()) or "none"
    return [
        f"protocol: {p.name} ({size}, {compared}). {p.note}",
        *evaluation.notes,
        f"undefined values left out: {left_out}",
        "versions: " + ", ".join(f"{name} {version}" for name, version in versions().items()),
    ]


def versions() -> dict[str, str]:
    """Looks up the versions of the packages that can move a number."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # such as a checkout that is not installed
            found[name] = "not installed"
    return found


def _write_rows(evaluation: Evaluation, path: Path) -> None:
    measures = evaluation.measures
    others = [m for m in measures.methods if m not in (measures.model, measures.baseline)]
    # The model's columns have the metric's name alone: what a program reads.
    prefixes = {measures.model: "", measures.baseline: "composite_"}
    prefixes |= {method: f"{method.replace(' ', '_')}_" for method in others}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        heads = [f"{prefixes[m]}{name}" for m in prefixes for name in evaluation.rows[0].model]
        writer.writerow(["composite_id", "subset", "fg_ratio", *heads])
        for row in evaluation.rows:
            of = row.values(measures)
            values = [value for method in prefixes for value in of[method].values()]
            writer.writerow([row.composite_id, row.subset, row.ratio, *values])


def _shown(evaluation: Evaluation) -> dict[str, Column]:
    """The columns that have a value somewhere."""
    rows = [row for of in evaluation.methods.values() for row in of.values()]
    return {
        name: column
        for name, column in evaluation.measures.columns.items()
        if any(not math.isnan(row.get(name, math.nan)) for row in rows)
    }


def _has_others(evaluation: Evaluation) -> bool:
    return len(evaluation.measures.methods) > 2


def _method(evaluation: Evaluation, method: str) -> str:
    return f"**{method}**" if method == evaluation.measures.model else method


def _plain(value: object) -> object:
    """Replaces NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"

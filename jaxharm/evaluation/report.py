"""Result files: metrics.json, table.md and per_image.csv."""

import csv
import json
import math
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import jax

from jaxharm.evaluation.evaluate import Evaluation
from jaxharm.evaluation.summary import ALL
from jaxharm.metrics.bins import NAMES
from jaxharm.metrics.protocols import statement

_PACKAGES = ("jaxharm", "jax", "flax", "numpy", "opencv-python-headless", "pillow")
# metric -> (heading, decimals)
COLUMNS = {
    "fmse": ("fMSE", 2),
    "mse": ("MSE", 2),
    "psnr": ("PSNR", 2),
    "fpsnr": ("fPSNR", 2),
    "ssim": ("SSIM", 4),
    "fssim": ("fSSIM", 4),
    "de00": ("dE00", 2),
    "fde00": ("fdE00", 2),
    "lpips": ("LPIPS", 4),
}
_BIN_COLUMNS = ("fmse", "mse", "psnr")


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
    "protocol": name, "baseline": the same rows of the untouched composite, "statement": how the
    numbers came about}.
    """
    stated = {
        **statement(evaluation.protocol),
        "images": len(evaluation.rows),
        "undefined": evaluation.summary[ALL]["undefined"],
        "evaluated": dict(about),
        "versions": versions(),
    }
    content = {
        **evaluation.summary,
        "protocol": evaluation.protocol.name,
        "baseline": evaluation.baseline,
        "statement": stated,
    }
    # allow_nan=False when it is written: a NaN would make a file that few programs read.
    return {key: _plain(value) for key, value in content.items()}


def as_table(evaluation: Evaluation, about: Mapping[str, str]) -> str:
    """Makes the content of table.md: the model beside the untouched composite."""
    summary, baseline = evaluation.summary, evaluation.baseline
    shown = [
        name for name in COLUMNS if any(not math.isnan(row[name]) for row in _with(summary, name))
    ]
    heads = ["subset", "images", "method", *(COLUMNS[name][0] for name in shown), "improved"]
    lines = ["# Evaluation", "", *(f"- {key}: {value}" for key, value in about.items())]
    lines += [f"- {line}" for line in describe(evaluation)]
    lines += [
        "",
        f"| {' | '.join(heads)} |",
        "|---|" + "---:|" + "---|" + "---:|" * (len(heads) - 3),
    ]
    for subset, row in summary.items():
        title = f"**{subset}**" if subset == ALL else subset
        before, after = (
            " | ".join(_number(values[name], COLUMNS[name][1]) for name in shown)
            for values in (baseline[subset], row)
        )
        lines.append(f"| {title} | {row['count']} | composite | {before} | |")
        lines.append(f"| | | **model** | {after} | {_percent(row['improved'])} |")
    lines += ["", "improved: share of images with an fMSE below the composite's.", ""]
    lines += ["## By foreground ratio (all images)", ""]
    heads = ["foreground", "images", "method", *(COLUMNS[name][0] for name in _BIN_COLUMNS)]
    lines += [f"| {' | '.join(heads)} |", "|---|---:|---|---:|---:|---:|"]
    for name in NAMES:
        for method, rows in (("composite", baseline), ("**model**", summary)):
            values = rows[ALL]["bins"][name]
            first = f"{name} % | {values['count']}" if method == "composite" else "|"
            numbers = " | ".join(_number(values[k], COLUMNS[k][1]) for k in _BIN_COLUMNS)
            lines.append(f"| {first} | {method} | {numbers} |")
    return "\n".join(lines) + "\n"


def describe(evaluation: Evaluation) -> list[str]:
    """States the protocol and what was left out, in sentences."""
    p, undefined = evaluation.protocol, evaluation.summary[ALL]["undefined"]
    size = (
        f"{p.size}x{p.size}, images {p.image_resize}, masks {p.mask_resize}"
        if p.size
        else (f"native size, masks {p.mask_resize}")
    )
    left_out = ", ".join(f"{count} {name}" for name, count in undefined.items()) or "none"
    return [
        f"protocol: {p.name} ({size}, foreground weights {p.mask}, MSE over {p.mse} pixels, "
        f"PSNR peak {p.peak}, SSIM {p.ssim}, prediction {'clipped' if p.clip else 'not clipped'}, "
        f"quantization {p.quantize}, blending as the model's own specification). {p.note}",
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
    names = list(evaluation.rows[0].model)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        heads = [*names, *(f"composite_{name}" for name in names)]
        writer.writerow(["composite_id", "subset", "fg_ratio", *heads])
        for row in evaluation.rows:
            values = [*row.model.values(), *row.baseline.values()]
            writer.writerow([row.composite_id, row.subset, row.ratio, *values])


def _with(summary: Mapping[str, Mapping[str, float]], name: str) -> list[Mapping[str, float]]:
    return [row for row in summary.values() if name in row]


def _plain(value: object) -> object:
    """Replaces NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float, decimals: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"

"""Writes the quality report: errors of the charts, clipping, and strength of the recolorings."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_pipelines.making.ccharmony.photos import Light


def write_report(out: Path, lights: Mapping[str, Light], records: Sequence[Mapping]) -> None:
    """Writes quality.json (summary), quality_charts.csv and quality_composites.csv.

    Args:
        lights: of every image.
        records: one per composite: composite, split, target, clipped (share of the foreground's
            values) and fmse (against the photograph, 0..255 scale).
    """
    residuals = np.array([light.residuals for light in lights.values()]).reshape(-1, 2)
    summary = {
        "images": len(lights),
        "matrices": dict(sorted(Counter(light.how for light in lights.values()).items())),
        "chart_residual_to_standard": _spread(residuals[:, 0]),
        "chart_residual_from_standard": _spread(residuals[:, 1]),
        "composites": len(records),
        "clipped_share": _spread([record["clipped"] for record in records]),
        "foreground_mse": _spread([record["fmse"] for record in records]),
    }
    text = json.dumps(summary, indent=1, allow_nan=False)
    (out / "quality.json").write_text(text + "\n", encoding="utf-8")
    rows = [
        {"image": name, "matrices": light.how}
        | dict(zip(("to_standard", "from_standard"), light.residuals, strict=True))
        for name, light in sorted(lights.items())
    ]
    _write_csv(out / "quality_charts.csv", rows)
    _write_csv(out / "quality_composites.csv", records)


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, float] | None:
    """Median, 95th percentile and maximum; None if there is no finite value."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return None
    names = ("median", "p95", "max")
    return {
        name: round(float(value), 4)
        for name, value in zip(names, np.percentile(known, (50, 95, 100)), strict=True)
    }


def _write_csv(path: Path, rows: Sequence[Mapping]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)

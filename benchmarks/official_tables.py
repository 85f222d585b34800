"""The Markdown tables of what the scripts against official code measured, between marks in a page."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxharm.errors import InputError

NOTHING = "Not measured yet.\n"  # in a page, as long as there is no file of results


def write_table(name: str, found: dict[str, Any], pages: Iterable[Path]) -> None:
    """Puts the table `name` of these results into pages that have its marks."""
    for page in pages:
        text = page.read_text()
        old = shown_table(name, text)
        if old is None:
            start, end = _marks(name)
            raise InputError(f"{page} has no lines {start} and {end} to put the table between")
        start, _ = _marks(name)
        page.write_text(text.replace(f"{start}\n{old}", f"{start}\n{TABLES[name](found)}"))
        print(f"renewed the table of {page}")


def shown_table(name: str, text: str) -> str | None:
    """What a page has between the marks of a table, or None where it lacks them."""
    start, end = map(re.escape, _marks(name))
    match = re.search(rf"{start}\n(.*?){end}", text, re.DOTALL)
    return match and match.group(1)


def speed_table(found: dict[str, Any]) -> str:
    """Seconds and memory of both sides, a line per model that was compared."""
    header = "| model | forward pass, s | training step, s | memory of a training step, MiB |"
    lines = [f"{_conditions(found)}; ours / official (official : ours).", "", header]
    lines.append("|---|---:|---:|---:|")
    remarks: list[str] = []
    for row in found["cases"]:
        if "official" not in row["step"]:
            continue
        model = f"`{row['name']}`, {row['size']}x{row['size']}, batch 1 and {row['batch']}"
        if row["remark"]:
            remarks.append(row["remark"])
            model += f" ({len(remarks)})"
        cells = [_both(row["forward"], 3), _both(row["step"], 2), _both(row["memory"], 0)]
        lines.append(f"| {' | '.join([model, *cells])} |")
    notes = "; ".join(f"({number}) {text}" for number, text in enumerate(remarks, 1))
    return "\n".join([*lines, "", *([f"{notes}.", ""] if notes else [])])


def curve_table(found: dict[str, Any]) -> str:
    """How far the loss curves of both sides are apart, a line per model and optimizer."""
    header = "| model | optimizer | loss of the first and last step | ours from official |"
    header += " ours from float64 | official from float64 |"
    lines = [f"{_conditions(found)}; {found['conditions']['steps']} steps.", "", header]
    lines.append("|---|---|---:|---:|---:|---:|")
    for row in found["cases"]:
        if "difference" not in row:
            continue
        curve, far = row["curves"]["ours"], row.get("from_float64", {})
        cells = [
            f"`{row['name']}`, {row['size']}x{row['size']}, batch {row['batch']}",
            f"{row['optimizer']}, {row['lr']:g}",
            f"{curve[0]:.4f}, {curve[-1]:.4f}",
            f"{row['difference']:.1e}",
            *(f"{far[side]:.1e}" if far else "-" for side in ("ours", "official")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


TABLES = {"against_official.py": speed_table, "train_against_official.py": curve_table}


def _conditions(found: dict[str, Any]) -> str:
    given = found["conditions"]
    versions = given["versions"]
    return (
        f"{given['threads']} threads of {given['processor']}, jax {versions['jax']}, "
        f"PyTorch {versions.get('torch', 'not installed')}, float32"
    )


def _both(sides: dict[str, float], digits: int) -> str:
    ours, official = sides["ours"], sides["official"]
    return f"{ours:.{digits}f} / {official:.{digits}f} ({official / ours:.2f})"


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: start -->", f"<!-- {name}: end -->"

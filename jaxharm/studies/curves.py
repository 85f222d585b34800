"""Learning curves of a study's runs: read from their logs, drawn as SVG.

The drawings take their colors from the page around them (--s0, --s1, ... for the runs), so that they
follow its light and dark colors.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

Curve: TypeAlias = dict[int, float]  # step -> value
_WIDTH, _HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 30  # margins of the plot area
_LOG_FROM = 20  # ratio of the largest to the smallest value from which the axis is logarithmic
COLORS = 8  # how many the page has; further runs begin again


@dataclass(frozen=True)
class Chart:
    """One metric of all runs over their steps.

    Attributes:
        title: the metric.
        logarithmic: whether its axis is.
        svg: the drawing.
    """

    title: str
    logarithmic: bool
    svg: str


def read_log(file: Path) -> dict[str, Curve]:
    """The losses and the evaluations of a metrics.jsonl: name -> curve.

    A run that was resumed may have logged a step twice; the later one counts.
    """
    found: dict[str, Curve] = {}
    for line in file.read_text().splitlines():
        row = json.loads(line)
        for key, value in row.items():
            wanted = key.endswith("loss") if row["kind"] == "train" else key.startswith("All/")
            if wanted and isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(key, {})[row["step"]] = float(value)
    return found


def charts(
    logs: Mapping[str, Sequence[Mapping[str, Curve]]], evaluated: Mapping[str, str]
) -> list[Chart]:
    """Draws what every run has logged more than once: its losses, and the evaluations of some metrics.

    Args:
        logs: run -> what `read_log` found for each seed.
        evaluated: metric -> heading, of the evaluations to draw.
    """
    names = {f"All/{metric}": f"{title}, evaluation" for metric, title in evaluated.items()}
    first = next((seeds[0] for seeds in logs.values()), {})
    losses = sorted((key for key in first if "/" not in key), key=lambda key: (key != "loss", key))
    names = {key: key.replace("_", " ") for key in losses[:4]} | names
    drawn = []
    for key, title in names.items():
        curves = {run: [log[key] for log in seeds if key in log] for run, seeds in logs.items()}
        if curves and all(of and all(len(curve) > 1 for curve in of) for of in curves.values()):
            drawn.append(_chart(title, list(curves.values())))
    return drawn


def _chart(title: str, runs: Sequence[Sequence[Curve]]) -> Chart:
    values = [v for run in runs for curve in run for v in curve.values()]
    steps = [s for run in runs for curve in run for s in curve]
    low, high = min(values), max(values)
    log = low > 0 and high / low > _LOG_FROM
    x = _Scale(min(steps), max(steps), _LEFT, _WIDTH - _RIGHT)
    y = _Scale(low, high, _HEIGHT - _BOTTOM, _TOP, logarithmic=log)
    right = _WIDTH - _RIGHT
    parts = []
    for t in y.ticks():
        parts += [
            f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>',
            f'<text class="tick" x="{_LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>',
        ]
    below = f'y="{_HEIGHT - 10}" text-anchor="middle"'
    parts += [f'<text class="tick" x="{x(t):.1f}" {below}>{t:g}</text>' for t in x.ticks()]
    for number, run in enumerate(runs):
        parts.append(_run(run, x, y, f"var(--s{number % COLORS})"))
    text = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'
    return Chart(title, log, text)


def _run(run: Sequence[Curve], x: "_Scale", y: "_Scale", color: str) -> str:
    """The mean over the seeds as a line, from the lowest to the highest seed as a band."""
    steps = sorted(set.intersection(*(set(curve) for curve in run)))
    every = np.array([[curve[step] for step in steps] for curve in run])

    def points(values: np.ndarray, order: slice = slice(None)) -> str:
        pairs = list(zip(steps, values, strict=True))[order]
        return " ".join(f"{x(step):.1f},{y(float(value)):.1f}" for step, value in pairs)

    line = f'<polyline points="{points(every.mean(0))}" fill="none" stroke="{color}" stroke-width="2"/>'
    if len(run) == 1:
        return line
    area = f"{points(every.min(0))} {points(every.max(0), slice(None, None, -1))}"
    return f'<polygon points="{area}" fill="{color}" opacity=".18"/>{line}'


class _Scale:
    """Maps values to pixels."""

    def __init__(
        self, low: float, high: float, start: float, end: float, *, logarithmic: bool = False
    ) -> None:
        self._log = logarithmic
        first, last = self._place(low), self._place(high)
        if last <= first:  # a single value: in the middle
            first, last = first - 0.5, last + 0.5
        self._from, self._to, self._start, self._end = first, last, start, end

    def __call__(self, value: float) -> float:
        share = (self._place(value) - self._from) / (self._to - self._from)
        return self._start + share * (self._end - self._start)

    def _place(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def ticks(self) -> list[float]:
        """A few round values inside of the range."""
        if self._log:
            exponents = range(math.floor(self._from), math.ceil(self._to) + 1)
            every = [m * 10.0**e for e in exponents for m in (1, 2, 5)]
            inside = [t for t in every if self._from <= math.log10(t) <= self._to]
            return inside[:: max(1, len(inside) // 5)]
        rough = (self._to - self._from) / 4
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough)
        first, last = math.ceil(self._from / step), math.floor(self._to / step)
        return [round(step * n, 12) for n in range(first, last + 1)]


def interval(low: float, middle: float, high: float, reach: float, *, better: bool | None) -> str:
    """Draws a difference and its interval around zero, between -reach and reach.

    Args:
        low, middle, high: the interval and the difference.
        reach: largest value that the drawing has place for.
        better: whether the interval lies wholly on the better side; None: it holds zero.
    """
    scale = _Scale(-reach, reach, 6, 154)
    color = "var(--dim)" if better is None else "var(--good)" if better else "var(--bad)"
    return (
        '<svg class="interval" viewBox="0 0 160 18" role="img">'
        '<line class="axis" x1="80" x2="80" y1="1" y2="17"/>'
        f'<line x1="{scale(low):.1f}" x2="{scale(high):.1f}" y1="9" y2="9" stroke="{color}" '
        'stroke-width="2"/>'
        f'<circle cx="{scale(middle):.1f}" cy="9" r="4" fill="{color}"/></svg>'
    )

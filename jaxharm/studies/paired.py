"""Differences between two runs, image by image and seed by seed, and how sure they are.

Both runs measure the same images, and with one seed both see the same data in the same order: what
a seed or an image does to both cancels in the difference. Differences are resampled on both levels,
seeds first and then images, as neither the seeds nor the images are all there are. (Sellam et al.,
The MultiBERTs, arXiv 2106.16163, use the same procedure.)
"""

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from jaxharm.errors import InputError
from jaxharm.measures import Column

DRAWS = 4000
LEVEL, POWER = 0.05, 0.8  # of the test; the chance to see a difference that is as large as this one
MOST_SEEDS = 1000
Values = Mapping[str, float]  # image -> value


@dataclass(frozen=True)
class Paired:
    """A run against the reference, in one metric.

    Attributes:
        difference: mean of run minus reference.
        low, high: where 95 % of the resampled means lie; with one seed, of its images alone.
        better: share of the resampled means on the better side, P(run > reference).
        p: two-sided; `holm` replaces it by the corrected one.
        seeds: how many were compared.
        needed: seeds at which a paired t-test over seeds would find a difference like this one
            four times of five; None with one seed, where their spread is not known, and where more
            than a thousand were needed.
        equal: whether the run and the reference have the same value for every image and seed.
    """

    difference: float
    low: float
    high: float
    better: float
    p: float
    seeds: int
    needed: int | None
    equal: bool


def compare(
    run: Mapping[int, Values],
    reference: Mapping[int, Values],
    *,
    lower_is_better: bool,
    seed: int = 0,
) -> Paired:
    """Compares seed -> image -> value of two runs, on the seeds that both have.

    Images that are undefined (NaN) in one of the runs are left out.

    Raises:
        InputError: no seed in common, or the runs did not measure the same images.
    """
    seeds = sorted(set(run) & set(reference))
    if not seeds:
        raise InputError("two runs without a common seed cannot be paired")
    images = sorted(run[seeds[0]])
    for of in (run, reference):
        for number in seeds:
            if sorted(of[number]) != images:
                raise InputError(f"the runs did not measure the same images (seed {number})")
    first, second = (
        np.array([[of[s][i] for i in images] for s in seeds]) for of in (run, reference)
    )
    differences = first - second
    differences = differences[:, np.isfinite(differences).all(axis=0)]
    if not differences.size:
        raise InputError("no image has a value in both runs")
    means = _resampled_means(differences, np.random.default_rng(seed))
    below, above = (means < 0).mean(), (means > 0).mean()
    ties = 1 - below - above
    low, high = np.quantile(means, (LEVEL / 2, 1 - LEVEL / 2))
    # One is added to both counts: no finite number of draws shows that a chance is zero.
    tail = min((means <= 0).sum(), (means >= 0).sum())
    return Paired(
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        better=float((below if lower_is_better else above) + ties / 2),
        p=float(min(1.0, 2 * (tail + 1) / (DRAWS + 1))),
        seeds=len(seeds),
        needed=seeds_needed(differences.mean(axis=1)),
        equal=not differences.any(),
    )


def _resampled_means(differences: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of `DRAWS` resamples of f64[seeds,images]: seeds with replacement, then images of each."""
    seeds, images = differences.shape
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        chosen = rng.integers(seeds, size=(seeds, 1))
        places = rng.integers(images, size=(seeds, images))
        means[draw] = differences[chosen, places].mean()
    return means


def seeds_needed(by_seed: np.ndarray) -> int | None:
    """Seeds for `POWER` at `LEVEL`, given the mean difference of each seed f64[seeds]; see `Paired`."""
    if len(by_seed) < 2:
        return None
    spread = by_seed.std(ddof=1)
    if spread == 0:
        return 2 if by_seed.mean() else None
    effect = abs(by_seed.mean()) / spread
    for count in range(2, MOST_SEEDS + 1):
        critical = stats.t.ppf(1 - LEVEL / 2, count - 1)
        # Of a non-central t: what the statistic is if the difference is real.
        if stats.nct.sf(critical, count - 1, effect * math.sqrt(count)) >= POWER:
            return count
    return None


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction: p values of several comparisons with the same reference."""
    order = np.argsort(p)
    corrected = np.empty(len(p))
    so_far = 0.0
    for rank, place in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = so_far
    return [float(value) for value in corrected]


def paired_rows(
    results: Mapping[str, Mapping[int, Path]], reference: str, columns: Mapping[str, Column]
) -> dict[str, dict[str, Paired]]:
    """Compares every run with the reference: run -> metric -> `Paired`, p corrected over the runs.

    Args:
        results: run -> seed -> its per_image.csv.
        reference: the run that the others are compared with.
        columns: what was measured; those that sum a result up are compared.
    """
    first = results.get(reference, {})
    others = [name for name, of in results.items() if name != reference and set(of) & set(first)]
    rows: dict[str, dict[str, Paired]] = {name: {} for name in others}
    for metric, column in columns.items():
        if not column.headline:
            continue
        base = {seed: read_images(file, metric) for seed, file in first.items()}
        found = [
            compare(
                {seed: read_images(file, metric) for seed, file in results[name].items()},
                base,
                lower_is_better=column.lower_is_better,
            )
            for name in others
        ]
        for name, one, p in zip(others, found, holm([one.p for one in found]), strict=True):
            rows[name][metric] = dataclasses.replace(one, p=p)
    return rows


def paired_table(
    rows: Mapping[str, Mapping[str, Paired]], reference: str, columns: Mapping[str, Column]
) -> str:
    """Writes `paired_rows` as Markdown; empty where nothing could be paired."""
    if not rows:
        return ""
    lines = [
        "",
        f"Differences to {reference}, image by image, resampled over seeds and images: mean, 95 % interval,",
        "share of resamples in which the run is better, p corrected over the runs (Holm), and the seeds at",
        "which a t-test over seeds would find such a difference four times of five. With two or three seeds",
        "the intervals are too narrow; with one, they are those of its images, and say nothing of other seeds.",
        "",
        "| run | metric | seeds | difference | 95 % | P(better) | p | seeds needed |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, of in rows.items():
        for metric, found in of.items():
            title, digits = columns[metric].title, columns[metric].decimals
            needed = "-" if found.needed is None else str(found.needed)
            value = "equal" if found.equal else f"{found.difference:+.{digits}f}"
            lines.append(
                f"| {name} | {title} | {found.seeds} | {value} | "
                f"{found.low:+.{digits}f} to {found.high:+.{digits}f} | {found.better:.3f} | "
                f"{found.p:.3g} | {needed} |"
            )
    return "\n".join(lines) + "\n"


def read_images(file: Path, metric: str) -> dict[str, float]:
    """Image -> value of one metric, of a per_image.csv; NaN where it is undefined."""
    with file.open(newline="", encoding="utf-8") as opened:
        return {
            f"{row['subset']}/{row['composite_id']}": float(row[metric])
            for row in csv.DictReader(opened)
        }

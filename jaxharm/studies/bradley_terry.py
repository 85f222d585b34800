"""Bradley-Terry scores of a user study: which method do people prefer, from pairwise votes.

P(i preferred to j) = e^si / (e^si + e^sj) (Bradley and Terry, 1952). The scores are the maximum
likelihood ones, centered to sum 0. For real composites there is no ground truth, so this is how
methods are ranked on them.

    python -m jaxharm votes votes.csv

The CSV file has the columns image, method_a, method_b, winner; `winner` is one of the two methods,
or `tie`, which counts half for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxharm.csv_files import read_table
from jaxharm.errors import InputError

COLUMNS = ("image", "method_a", "method_b", "winner")
CHECK_COLUMNS = ("rater", "image", "passed")


@dataclass(frozen=True)
class Vote:
    """One comparison; `winner` is `method_a`, `method_b` or "tie", `rater` "" where nobody is named."""

    image: str
    method_a: str
    method_b: str
    winner: str
    rater: str = ""


@dataclass(frozen=True)
class Scores:
    """Result of a user study.

    Attributes:
        methods: sorted by name.
        scores: s per method, sum 0; higher is preferred.
        low: lower ends of the 95 % intervals (bootstrap over images); NaN from a single image.
        high: upper ends.
        comparisons: number of votes per method.
        smoothing: what was added to each ordered pair's win count.
        images: number of images.
        groups: methods that votes connect, directly or through others; scores of two groups cannot
            be compared, whatever the smoothing makes of them.
    """

    methods: tuple[str, ...]
    scores: np.ndarray
    low: np.ndarray
    high: np.ndarray
    comparisons: np.ndarray
    smoothing: float
    images: int
    groups: tuple[tuple[str, ...], ...]


def read_votes(path: str | Path) -> list[Vote]:
    """Reads a CSV file of votes, as spreadsheets write it; see `jaxharm.csv_files`.

    Raises:
        InputError: no such file, missing columns, an empty field, a winner that was not compared,
            or no vote at all; the message names the line.
    """
    votes = []
    for line, values in read_table(path, COLUMNS, optional=("rater",)):
        vote = Vote(**values)
        if not all(values[name] for name in COLUMNS) or vote.method_a == vote.method_b:
            raise InputError(f"{path} line {line}: two methods and a winner needed")
        if vote.winner not in (vote.method_a, vote.method_b, "tie"):
            raise InputError(
                f"{path} line {line}: winner {vote.winner!r} is neither {vote.method_a!r} nor "
                f"{vote.method_b!r} nor 'tie'"
            )
        votes.append(vote)
    if not votes:
        raise InputError(f"{path} holds no vote")
    return votes


def read_raters(path: str | Path, allowed: int = 0) -> set[str]:
    """The raters of a CSV file of attention checks who failed more than `allowed` of them.

    Raises:
        InputError: no such file, missing columns, or an answer that is neither yes nor no.
    """
    failures: dict[str, int] = {}
    for line, values in read_table(path, CHECK_COLUMNS):
        if values["passed"] not in ("yes", "no"):
            raise InputError(f"{path} line {line}: passed is {values['passed']!r}, not yes or no")
        failed = values["passed"] == "no"
        failures[values["rater"]] = failures.get(values["rater"], 0) + failed
    return {rater for rater, count in failures.items() if count > allowed}


def fit_votes(
    votes: Sequence[Vote], *, smoothing: float = 0.5, draws: int = 1000, seed: int = 0
) -> Scores:
    """Fits scores and their 95 % intervals to votes.

    Args:
        votes: the comparisons.
        smoothing: added to every ordered pair of methods, so that scores stay finite; 0 turns it
            off.
        draws: bootstrap draws over images.
        seed: of the bootstrap.

    Raises:
        InputError: without smoothing, where some methods never lost to the others (the scores
            would be infinite).
    """
    methods, wins = _count_wins(votes)
    counts = wins.sum(axis=0)
    scores = fit(counts, smoothing=smoothing, methods=methods)
    rng = np.random.default_rng(seed)
    # Whole images are drawn, not votes: votes on one image are not independent.
    drawn = []
    # A draw from one image is that image: an interval of no width, which means nothing.
    for _ in range(draws if len(wins) > 1 else 0):
        sample = wins[rng.integers(0, len(wins), len(wins))].sum(axis=0)
        # Without smoothing a draw may miss the only loss of a method: its score would be infinite.
        if smoothing or _connected(sample):
            drawn.append(fit(sample, smoothing=smoothing))
    low, high = (
        np.percentile(drawn, [2.5, 97.5], axis=0) if drawn else np.full((2, len(methods)), np.nan)
    )
    comparisons = (counts.sum(axis=0) + counts.sum(axis=1)).astype(int)
    return Scores(
        methods, scores, low, high, comparisons, smoothing, len(wins), _groups(methods, counts)
    )


def _count_wins(votes: Sequence[Vote]) -> tuple[tuple[str, ...], np.ndarray]:
    """Sorts the methods and counts their wins, f64[image, winner, loser]."""
    methods = tuple(sorted({m for v in votes for m in (v.method_a, v.method_b)}))
    images = sorted({v.image for v in votes})
    place = {name: i for i, name in enumerate(methods)}
    row = {name: i for i, name in enumerate(images)}
    wins = np.zeros((len(images), len(methods), len(methods)))
    for vote in votes:
        a, b, image = place[vote.method_a], place[vote.method_b], row[vote.image]
        share = 0.5 if vote.winner == "tie" else float(vote.winner == vote.method_a)
        wins[image, a, b] += share
        wins[image, b, a] += 1 - share
    return methods, wins


def fit(
    wins: np.ndarray, *, smoothing: float = 0.5, methods: Sequence[str] | None = None
) -> np.ndarray:
    """Finds the most likely scores for a matrix of wins.

    Args:
        wins: f64[n,n], wins[i, j] = how often i was preferred to j (ties half and half).
        smoothing: added to every off-diagonal entry.
        methods: names for the error message.

    Returns:
        f64[n], mean 0.

    Raises:
        InputError: without smoothing, where a method never won, or never lost, against the rest.
    """
    # Imported here: it loads SciPy, which commands that fit nothing need not wait for.
    import choix

    n = len(wins)
    counts = np.where(np.eye(n, dtype=bool), 0.0, np.asarray(wins, np.float64) + smoothing)
    if not _connected(counts):
        raise InputError(
            f"the votes do not connect all of {', '.join(methods or map(str, range(n)))}: some "
            "method never won, or never lost, against the rest; use smoothing or more votes"
        )
    scores: np.ndarray = choix.ilsr_pairwise_dense(counts, tol=1e-10)
    centered: np.ndarray = scores - scores.mean()
    return centered


def _groups(methods: Sequence[str], counts: np.ndarray) -> tuple[tuple[str, ...], ...]:
    """The methods that comparisons connect, largest group first."""
    from scipy.sparse import csgraph

    parts, labels = csgraph.connected_components(counts + counts.T > 0, directed=False)
    groups = [
        tuple(m for m, label in zip(methods, labels, strict=True) if label == part)
        for part in range(parts)
    ]
    return tuple(sorted(groups, key=len, reverse=True))


def _connected(wins: np.ndarray) -> bool:
    """Whether every method can be reached from every other along wins."""
    from scipy.sparse import csgraph

    parts, _ = csgraph.connected_components(wins > 0, connection="strong")
    return bool(parts == 1)


def table(result: Scores) -> str:
    """Writes the scores as a Markdown table, best first."""
    lines = ["| method | B-T score | 95 % interval | comparisons |", "|---|---|---|---|"]
    for i in np.argsort(-result.scores):
        known = np.isfinite(result.low[i])
        interval = f"{result.low[i]:+.3f} .. {result.high[i]:+.3f}" if known else "none"
        lines.append(
            f"| {result.methods[i]} | {result.scores[i]:+.3f} | {interval} | {result.comparisons[i]} |"
        )
    lines += ["", f"Smoothing: {result.smoothing:g} added to each ordered pair of methods."]
    if result.images == 1:
        lines.append("No intervals: all votes are on one image, which says nothing of others.")
    if len(result.groups) > 1:
        shown = " / ".join(", ".join(group) for group in result.groups)
        lines.append(f"Never compared, also not through others, so not to be ranked: {shown}.")
    return "\n".join(lines)

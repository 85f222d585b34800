"""Bradley-Terry scores of a user study: which method do people prefer, from pairwise votes.

P(i preferred to j) = e^si / (e^si + e^sj) (Bradley and Terry, 1952). The scores are the maximum
likelihood ones, centered to sum 0. For real composites there is no ground truth, so this is how
methods are ranked on them.

    python -m jaxharm votes votes.csv

The CSV file has the columns image, method_a, method_b, winner; `winner` is one of the two methods,
or `tie`, which counts half for each.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxharm.errors import InputError

COLUMNS = ("image", "method_a", "method_b", "winner")


@dataclass(frozen=True)
class Vote:
    """One comparison; `winner` is `method_a`, `method_b` or "tie"."""

    image: str
    method_a: str
    method_b: str
    winner: str


@dataclass(frozen=True)
class Scores:
    """Result of a user study.

    Attributes:
        methods: sorted by name.
        scores: s per method, sum 0; higher is preferred.
        low: lower ends of the 95 % intervals (bootstrap over images).
        high: upper ends.
        comparisons: number of votes per method.
        smoothing: what was added to each ordered pair's win count.
    """

    methods: tuple[str, ...]
    scores: np.ndarray
    low: np.ndarray
    high: np.ndarray
    comparisons: np.ndarray
    smoothing: float


def read_votes(path: str | Path) -> list[Vote]:
    """Reads a CSV file of votes.

    Raises:
        InputError: no such file, missing columns, an empty field, a winner that was not compared,
            or no vote at all; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"file of votes {path} does not exist")
    # utf-8-sig: spreadsheets begin their CSV files with a byte order mark.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = sorted(set(COLUMNS) - set(reader.fieldnames or ()))
        if missing:
            raise InputError(f"{path} lacks the columns {', '.join(missing)} in its first line")
        votes = []
        for row in reader:
            values = {key: (row[key] or "").strip() for key in COLUMNS}
            vote = Vote(**values)
            if not all(values.values()) or vote.method_a == vote.method_b:
                raise InputError(f"{path} line {reader.line_num}: two methods and a winner needed")
            if vote.winner not in (vote.method_a, vote.method_b, "tie"):
                raise InputError(
                    f"{path} line {reader.line_num}: winner {vote.winner!r} is neither "
                    f"{vote.method_a!r} nor {vote.method_b!r} nor 'tie'"
                )
            votes.append(vote)
    if not votes:
        raise InputError(f"{path} holds no vote")
    return votes


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
    for _ in range(draws):
        sample = wins[rng.integers(0, len(wins), len(wins))].sum(axis=0)
        # Without smoothing a draw may miss the only loss of a method: its score would be infinite.
        if smoothing or _connected(sample):
            drawn.append(fit(sample, smoothing=smoothing))
    low, high = (
        np.percentile(drawn, [2.5, 97.5], axis=0) if drawn else np.full((2, len(methods)), np.nan)
    )
    comparisons = (counts.sum(axis=0) + counts.sum(axis=1)).astype(int)
    return Scores(methods, scores, low, high, comparisons, smoothing)


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


def _connected(wins: np.ndarray) -> bool:
    """Whether every method can be reached from every other along wins."""
    from scipy.sparse import csgraph

    parts, _ = csgraph.connected_components(wins > 0, connection="strong")
    return bool(parts == 1)


def table(result: Scores) -> str:
    """Writes the scores as a Markdown table, best first."""
    lines = ["| method | B-T score | 95 % interval | comparisons |", "|---|---|---|---|"]
    for i in np.argsort(-result.scores):
        interval = f"{result.low[i]:+.3f} .. {result.high[i]:+.3f}"
        lines.append(
            f"| {result.methods[i]} | {result.scores[i]:+.3f} | {interval} | {result.comparisons[i]} |"
        )
    lines += ["", f"Smoothing: {result.smoothing:g} added to each ordered pair of methods."]
    return "\n".join(lines)

"""A page for raters: which of two results looks better? Votes go to a table that `jaxharm votes` reads.

A study is a folder with one folder per method, which hold pictures of the same names, and optionally
`checks/good` and `checks/bad` with pairs of which one is plainly better: attention checks. A text file
`question.txt` replaces the question. Beside them the server writes `votes.csv` and `checks.csv`.

Every rater sees all pairs in an order, and with sides, of their own, which follow from the name of the
rater: a page that is loaded again goes on where it was left.
"""

import csv
import hashlib
import io
import itertools
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jaxharm.errors import InputError
from jaxharm.images.codec import READ_SUFFIXES, read_image
from jaxharm.studio.desk import Desk
from jaxharm.studio.limits import GoneError
from jaxharm.studio.requests import read_json
from jaxharm.studio.views import preview

VOTES, CHECKS = "votes.csv", "checks.csv"
_CHECKS = "checks"
_VOTE_COLUMNS = ("image", "method_a", "method_b", "winner", "rater", "seconds")
_CHECK_COLUMNS = ("rater", "image", "passed")
_QUESTION = "In which picture does the object fit better?"
_SIDE = 1600
_EVERY = 8  # pairs between two attention checks, at least


@dataclass(frozen=True)
class Pair:
    """Two pictures to compare; of a check, `a` is the better one."""

    image: str
    a: str
    b: str
    check: bool = False

    @property
    def name(self) -> str:
        """Tells it from the others."""
        return f"{self.a}|{self.b}|{self.image}"


class Study:
    """The pairs of a folder, and the routes of the page."""

    def __init__(self, folder: Path, desk: Desk) -> None:
        self._folder, self._desk = folder, desk
        self._pictures = _pictures_of(folder)
        self.pairs, self.checks = _pairs(self._pictures)
        question = folder / "question.txt"
        self.question = question.read_text().strip() if question.is_file() else _QUESTION
        self._lock = threading.Lock()
        self._shown: dict[tuple[str, str], float] = {}
        for name, columns in ((VOTES, _VOTE_COLUMNS), (CHECKS, _CHECK_COLUMNS)):
            _begin_table(folder / name, columns)

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/study/next", self._next, methods=["POST"]),
            Route("/study/vote", self._vote, methods=["POST"]),
            Route("/study/pictures/{pair}/{side}", self._picture, methods=["GET"]),
        ]

    def order(self, rater: str) -> list[Pair]:
        """All pairs in the rater's order, checks between them."""
        pairs = sorted(self.pairs, key=lambda pair: _hash(rater, pair.name))
        for number, check in enumerate(sorted(self.checks, key=lambda c: _hash(rater, c.name))):
            pairs.insert(min(len(pairs), _EVERY // 2 + number * (_EVERY + 1)), check)
        return pairs

    def sides(self, rater: str, pair: Pair) -> tuple[str, str]:
        """Methods on the left and on the right."""
        swapped = _hash(rater, pair.name, "sides")[0] % 2
        return (pair.b, pair.a) if swapped else (pair.a, pair.b)

    async def _next(self, request: Request) -> Response:
        rater = _rater(await read_json(request))
        order, done = self.order(rater), self._done(rater)
        left = [pair for pair in order if pair.name not in done]
        told: dict[str, object] = {
            "question": self.question,
            "total": len(order),
            "done": len(order) - len(left),
            "pair": None,
        }
        if left:
            self._shown[rater, left[0].name] = time.monotonic()
            told["pair"] = _secret(rater, left[0])
        return JSONResponse(told)

    async def _vote(self, request: Request) -> Response:
        said = await read_json(request)
        rater, side = _rater(said), said.get("winner")
        pair = self._pair(rater, str(said.get("pair")))
        if side not in ("left", "right", "tie"):
            raise InputError("winner must be left, right or tie")
        left, right = self.sides(rater, pair)
        winner = {"left": left, "right": right, "tie": "tie"}[side]
        started = self._shown.get((rater, pair.name), time.monotonic())
        with self._lock:
            if pair.name not in self._done(rater):  # a second click is no second vote
                if pair.check:
                    passed = "yes" if winner == pair.a else "no"
                    _append(self._folder / CHECKS, (rater, pair.image, passed))
                else:
                    seconds = f"{time.monotonic() - started:.1f}"
                    row = (pair.image, pair.a, pair.b, winner, rater, seconds)
                    _append(self._folder / VOTES, row)
        return JSONResponse({})

    async def _picture(self, request: Request) -> Response:
        rater = _rater(dict(request.query_params))
        pair, side = self._pair(rater, request.path_params["pair"]), request.path_params["side"]
        if side not in ("left", "right"):
            raise InputError("a side is left or right")
        method = self.sides(rater, pair)[side == "right"]
        file = self._pictures[method][pair.image]

        def work() -> bytes:
            image = read_image(file)
            return preview(image.pixels, image.space, _SIDE)

        return Response(await self._desk.do("view", work), media_type="image/webp")

    def _pair(self, rater: str, secret: str) -> Pair:
        """The pair of a name that does not tell the methods."""
        for pair in (*self.pairs, *self.checks):
            if _secret(rater, pair) == secret:
                return pair
        raise GoneError("this pair is not part of the study: load the page again")

    def _done(self, rater: str) -> set[str]:
        """Names of the pairs that a rater has judged."""
        found = set[str]()
        for row in _rows(self._folder / VOTES):
            if row.get("rater") == rater:
                found.add(Pair(row["image"], row["method_a"], row["method_b"]).name)
        for row in _rows(self._folder / CHECKS):
            if row.get("rater") == rater:
                good, bad = (f"{_CHECKS}/{side}" for side in ("good", "bad"))
                found.add(Pair(row["image"], good, bad).name)
        return found


def _pictures_of(folder: Path) -> dict[str, dict[str, Path]]:
    """Method -> name of an image -> its file."""
    if not folder.is_dir():
        raise InputError(f"study {folder} is no folder")
    methods = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name != _CHECKS]
    methods += [folder / _CHECKS / side for side in ("good", "bad")]
    found = {}
    for path in methods:
        files = sorted(path.iterdir()) if path.is_dir() else []
        pictures = {file.stem: file for file in files if file.suffix.lower() in READ_SUFFIXES}
        name = path.relative_to(folder).as_posix()
        if pictures and name != "tie":
            found[name] = pictures
    return found


def _pairs(pictures: dict[str, dict[str, Path]]) -> tuple[list[Pair], list[Pair]]:
    methods = [name for name in pictures if not name.startswith(f"{_CHECKS}/")]
    pairs = [
        Pair(image, a, b)
        for a, b in itertools.combinations(methods, 2)
        for image in sorted(pictures[a].keys() & pictures[b].keys())
    ]
    if not pairs:
        raise InputError(
            "the study has nothing to compare: it needs a folder for each of two methods or more, with "
            "pictures of the same names"
        )
    good, bad = (f"{_CHECKS}/{side}" for side in ("good", "bad"))
    common = pictures.get(good, {}).keys() & pictures.get(bad, {}).keys()
    return pairs, [Pair(image, good, bad, check=True) for image in sorted(common)]


def _hash(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _secret(rater: str, pair: Pair) -> str:
    return _hash(rater, pair.name, "name").hex()[:16]


def _rater(said: dict[str, object]) -> str:
    rater = said.get("rater")
    if not isinstance(rater, str) or not rater.isalnum() or len(rater) > 40:
        raise InputError("a rater's name is up to 40 letters and digits")
    return rater


def _begin_table(path: Path, columns: Sequence[str]) -> None:
    """Writes the head of a table that is new; a line that was cut off is taken away."""
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1] or ",".join(columns) + "\n"
        if whole != text:
            path.write_text(whole, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {path}: {error}") from None


def _append(path: Path, row: Sequence[str]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line.getvalue())
            file.flush()
            os.fsync(file.fileno())  # a vote that was thanked for is not lost
    except OSError as error:
        raise InputError(f"the vote cannot be written to {path.name}: {error.strerror}") from None


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))

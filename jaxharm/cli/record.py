"""What each result of a folder was made from, kept beside the results: which of them still hold.

The file has one JSON object a line. {"id", "settings"}: weights and options of a run. {"result",
"settings", "from", "stat", "sha256", ...}: a finished result, its settings by their id, and the
content of the files it was made from; without "sha256", one that was begun and perhaps not finished.
Of several lines of one result the last one holds.
"""

import hashlib
import json
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from jaxharm.cli.pairing import Pair
from jaxharm.config import Json
from jaxharm.errors import InputError

RECORD = ".jaxharm-results.jsonl"
# What the system says of a file without reading it: where nothing of it changed, the content did not.
_Stat: TypeAlias = list[int]
_FINISHED = ("settings", "from", "stat", "sha256")


@dataclass(frozen=True)
class Settings:
    """What results depend on beside the pictures.

    Attributes:
        values: weights and options, by the words that the user typed; files by their content.
        written: further files that the run writes, such as "save_params=/path".
    """

    values: Json
    written: Sequence[str] = ()

    @property
    def id(self) -> str:
        """A hash of the values."""
        return _hash_text(json.dumps(self.values, sort_keys=True))[:16]


@dataclass(frozen=True)
class Decision:
    """Whether a result is to be made: no, yes ("" or again, with the reason), or it may not be."""

    make: bool
    reason: str = ""
    refused: bool = False


class Record:
    """The record of a folder of results."""

    def __init__(self, out_dir: Path, settings: Settings, pairs: Sequence[Pair]) -> None:
        """Reads the record of the runs before, if there is one; `pairs` are all of this run."""
        inputs = [path for pair in pairs for path in pair.files.values()]
        self._inputs = {_identity(path) for path in inputs if path.exists()}
        self._outputs = {_key(pair.output): pair.composite for pair in pairs}
        self._file = out_dir / RECORD
        self._settings = settings
        self._lock = threading.Lock()
        self._results: dict[str, Json] = {}
        self._earlier: dict[str, Json] = {}
        for line in _lines(self._file):
            if "id" in line:
                self._earlier[str(line["id"])] = line.get("settings", {})
            elif set(line) == {"result"} or {"result", *_FINISHED} <= set(line):
                self._results[str(line["result"])] = line

    def decide(self, pair: Pair, *, overwrite: bool) -> Decision:
        """Whether the result of a pair is to be made, and why again."""
        output = pair.output
        if not output.exists() and not output.is_symlink():
            return Decision(True)
        if self._is_input(output):
            reason = f"{output} is one of the pictures that are read; remove this link"
            return Decision(False, reason, refused=True)
        if overwrite:
            return Decision(True)
        line = self._results.get(output.name)
        if line is None:
            reason = f"{output.name} is there already, and nothing says what it was made from"
            return Decision(False, f"{reason}; --overwrite replaces it", refused=True)
        if "sha256" not in line:
            return Decision(True, "the run before was cut off while it wrote")
        if not output.is_file() or not _holds(output, line):
            reason = f"{output.name} was changed after it was made; --overwrite replaces it"
            return Decision(False, reason, refused=True)
        changed = self._changed(pair, line)
        return Decision(bool(changed), changed and f"again: {changed}")

    def claim(self, pair: Pair, files: Sequence[Path]) -> None:
        """InputError where a file to be written would replace a picture or another result."""
        for file in files:
            if self._is_input(file):
                raise InputError(f"{file} is one of the pictures that are read; remove this link")
            owner = self._outputs.setdefault(_key(file), pair.composite)
            if owner != pair.composite:
                raise InputError(f"its result {file.name} would replace that of {owner.name}")

    def begin(self, pair: Pair) -> None:
        """Notes that a result is about to be written: cut off here, it is made again."""
        self._append({"result": pair.output.name})

    def done(self, pair: Pair, sources: Mapping[str, Json], files: Sequence[Path]) -> None:
        """Notes a finished result.

        Args:
            pair: whose.
            sources: its files, as `describe` gave them before they were read.
            files: what was written, the main result first.
        """
        main, *others = files
        line: Json = {"result": main.name, "settings": self._settings.id, "from": dict(sources)}
        if others:
            line["others"] = [file.name for file in others]
        if self._settings.written:
            line["written"] = list(self._settings.written)
        self._append({**line, "stat": _stat(main), "sha256": hash_file(main)})

    def start(self) -> None:
        """Notes the settings of this run; InputError where the folder cannot be written to."""
        self._append({"id": self._settings.id, "settings": self._settings.values})

    def _changed(self, pair: Pair, line: Json) -> str:
        """What differs from the run that made a result; "" where nothing does."""
        settings = self._earlier.get(line["settings"], {})
        if line["settings"] != self._settings.id:
            new = self._settings.values
            names = sorted(n for n in {**settings, **new} if settings.get(n) != new.get(n))
            return "; ".join(_difference(n, settings.get(n), new.get(n)) for n in names)
        lacking = [w for w in self._settings.written if w not in line.get("written", ())]
        if lacking:
            return f"it was made without {lacking[0].partition('=')[0]}"
        gone = [n for n in line.get("others", ()) if not (pair.output.parent / n).is_file()]
        if gone:
            return f"{gone[0]} is gone"
        before: Mapping[str, Json] = line["from"]
        if set(before) != set(pair.files):
            role = min(set(before) ^ set(pair.files))
            return f"it had {'a' if role in before else 'no'} {role}"
        for role, path in pair.files.items():
            if not path.is_file() or not _holds(path, before[role]):
                return f"its {role} changed"
        return ""

    def _is_input(self, file: Path) -> bool:
        return file.exists() and _identity(file) in self._inputs

    def _append(self, line: Json) -> None:
        text = json.dumps(line) + "\n"
        try:
            with self._lock, self._file.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise InputError(f"cannot write {self._file}: {error.strerror}") from None


def describe(pair: Pair) -> dict[str, Json]:
    """The content of a pair's files, by role."""
    return {
        role: {"file": str(path.absolute()), "stat": _stat(path), "sha256": hash_file(path)}
        for role, path in pair.files.items()
        if path.is_file()
    }


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def hash_path(path: Path) -> str:
    """SHA-256 of a file's content, or of all names and contents in a folder."""
    if not path.is_dir():
        return hash_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return _hash_text("\n".join(f"{f.relative_to(path)} {hash_file(f)}" for f in files))


def _holds(path: Path, line: Json) -> bool:
    """Whether a file's content is what a line says."""
    same_place = line.get("file", str(path.absolute())) == str(path.absolute())
    # Only where the system's notes on the file differ is it read: it was touched, moved or copied.
    untouched = same_place and line["stat"] == _stat(path)
    return untouched or bool(line["sha256"] == hash_file(path))


def _stat(path: Path) -> _Stat:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _identity(path: Path) -> tuple[int, int]:
    """The same for every name and link of a file."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def _key(path: Path) -> str:
    """The same for names that some file systems hold to be one."""
    return unicodedata.normalize("NFC", path.name).casefold()


def _difference(name: str, old: object, new: object) -> str:
    shown = all(isinstance(v, int | float | None) or len(str(v)) <= 20 for v in (old, new))
    return f"{name} was {old}, is {new}" if shown else f"{name} changed"


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _lines(file: Path) -> list[Json]:
    """The objects of a file of JSON lines; a line that was cut off, or is none, is left out."""
    found = []
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found

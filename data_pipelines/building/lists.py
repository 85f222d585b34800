"""Reads the lists of file names that divide a data set into splits, and checks every line."""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.building.items import SPLIT_ORDER
from data_pipelines.building.report import Report
from jaxharm.images import read_file

_COMPOSITE = re.compile(r"(.+)_([^_]+)_([^_]+)\.(?:jpg|jpeg|png)", re.IGNORECASE)
_IMAGE_ENDING = re.compile(r"\.(?:jpg|jpeg|png)$", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\r|\n")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Line:
    """One entry of a list: its text without surrounding blanks, its file and its line number."""

    text: str
    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path.name}:{self.number}: {self.text[:120]!r}"


@dataclass(frozen=True)
class CompositeName:
    """A composite's file name `<real>_<fg>_<k>.jpg` and the ids that follow from it."""

    file: str
    composite_id: str
    mask_id: str
    real_id: str


def parse_composite(name: str) -> CompositeName | None:
    """Splits a composite's file name into its ids; None if it has another form.

    The split is from the right: names of photographs may hold underscores.

    Source: docs/data.md, "Layouts".
    """
    match = _COMPOSITE.fullmatch(name)
    if match is None or "/" in name:
        return None
    real, foreground, k = match.groups()
    return CompositeName(name, f"{real}_{foreground}_{k}", f"{real}_{foreground}", real)


def parse_id(name: str) -> str | None:
    """An id without its image ending, if it has one; None if it is empty or a path."""
    stem = _IMAGE_ENDING.sub("", name)
    return stem if stem and "/" not in stem else None


def is_unsafe(text: str) -> bool:
    """Whether a line could lead outside the data set or holds control characters."""
    return (
        text.startswith("/")
        or ".." in text
        or text.startswith("\\")
        or _DRIVE.match(text) is not None
        or any(unicodedata.category(char) == "Cc" for char in text)
    )


def read_lines(path: Path, report: Report) -> list[Line]:
    """Reads the entries of a list file, ignoring blank lines and any kind of line ending.

    UTF-8, and UTF-16 with its mark at the beginning, are read. Unsafe lines are reported as
    `path_traversal`; a file of another encoding and lines with backslashes as `bad_list_line`;
    none of them is returned.
    """
    lines = []
    try:
        text = _text(read_file(path))
    except OSError as error:
        report.error("bad_list_line", f"{path.name} cannot be read: {error.strerror}")
        return []
    if text is None:
        report.error("bad_list_line", f"{path.name} is UTF-16 without its mark: save it as UTF-8")
        return []
    for number, entry in enumerate(_LINE_END.split(text), 1):
        line = Line(entry.strip(" \t"), path, number)
        if not line.text:
            continue
        if is_unsafe(line.text):
            report.error("path_traversal", str(line))
        elif "\\" in line.text:
            report.error("bad_list_line", f"{line} has a backslash: write the bare file name")
        elif "\ufffd" in line.text:  # what decoding puts in place of bytes that are not UTF-8
            report.error("bad_list_line", f"{line} is not UTF-8")
        else:
            lines.append(line)
    return lines


def _text(raw: bytes) -> str | None:
    """The text of a list file; None where it is UTF-16 but does not say so."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):  # what Windows calls Unicode
        return raw.decode("utf-16", errors="replace")
    if raw.count(b"\0") > len(raw) // 4:
        return None
    return raw.decode("utf-8-sig", errors="replace")  # some editors add a mark to UTF-8


def drop_duplicates(keyed: list[tuple[str, Line]], report: Report) -> list[tuple[str, Line]]:
    """Keeps the first line of every key and reports the others as `duplicate_entry`."""
    first: dict[str, Line] = {}
    kept = []
    for key, line in keyed:
        if key in first:
            place = f"{line.path.name}:{first[key].number} and :{line.number}"
            report.error("duplicate_entry", f"{key} at {place}")
        else:
            first[key] = line
            kept.append((key, line))
    return kept


def read_composites(path: Path, report: Report) -> list[CompositeName]:
    """Reads a list of composite file names; each composite is returned once."""
    names: dict[str, CompositeName] = {}
    keyed: list[tuple[str, Line]] = []
    for line in read_lines(path, report):
        name = parse_composite(line.text)
        if name is None:
            report.error("bad_list_line", f"{line} is not <real>_<fg>_<k>.jpg")
        else:
            names.setdefault(name.composite_id, name)
            keyed.append((name.composite_id, line))
    return [names[key] for key, _ in drop_duplicates(keyed, report)]


def read_ids(path: Path, report: Report) -> list[str]:
    """Reads a list of ids or file names; each id is returned once."""
    keyed = []
    for line in read_lines(path, report):
        key = parse_id(line.text)
        if key is None:
            report.error("bad_list_line", f"{line} is not a bare id or file name")
        else:
            keyed.append((key, line))
    return [key for key, _ in drop_duplicates(keyed, report)]


def list_for_split(folder: Path, exact: str, split: str, report: Report) -> Path | None:
    """Finds the list of one split: `<exact>_<split>.txt`, or else the only .txt that ends so.

    Letter case is ignored. Several candidates are reported as `missing_list`; no candidate is not,
    because the caller may have another list for the split.

    Source: docs/data.md, "Layouts".
    """
    texts = sorted(path for path in folder.iterdir() if _may_be_list(path))
    wanted = f"{exact}_{split}".lower()
    named = [path for path in texts if path.stem.lower() == wanted]
    if named:
        return named[0]
    ending = [path for path in texts if path.stem.lower().endswith(split)]
    if len(ending) > 1:
        names = ", ".join(path.name for path in ending)
        report.error(
            "missing_list", f"{names} in {folder} could all be the list {exact}_{split}.txt"
        )
        return None
    return ending[0] if ending else None


def lists_by_split(
    folder: Path, names: tuple[str, ...], report: Report, *, required: bool = True
) -> dict[str, Path]:
    """Finds all lists `*_<split>.txt` of a folder, whatever the names of its splits.

    A list that starts with one of `names` has precedence over others of the same split. Several
    others are reported as `missing_list`, because the choice would be a guess. Text files whose
    first line is no file name are ignored. Where lists are not required, there may be none; but
    one that is called train.txt or so is reported: nobody would look for its files elsewhere.
    """
    own = [name.lower() for name in names]
    candidates: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        prefix, _, split = path.stem.rpartition("_")
        if not _may_be_list(path) or not prefix or not split.isidentifier():
            continue
        if split.lower() == "all":
            continue  # TFDS reserves this name for the union of all splits
        if prefix.lower() in own or _looks_like_list(path):
            candidates.setdefault(split.lower(), []).append(path)
    found = {}
    for split, paths in candidates.items():
        exact = [p for name in own for p in paths if p.stem.lower() == f"{name}_{split}"]
        if len(paths) > 1 and not exact:
            shown = ", ".join(path.name for path in paths)
            report.error("missing_list", f"{shown} in {folder}: which one is the {split} list?")
        else:
            found[split] = (exact or paths)[0]
    bare = [path.name for path in folder.iterdir() if _is_bare_list(path)]
    if not candidates and (required or bare):
        wanted = os.path.join(folder, f"{names[0]}_<split>.txt")
        report.error("missing_list", f"{wanted}{f' ({bare[0]} lacks the name)' if bare else ''}")
    return found


def _may_be_list(path: Path) -> bool:
    # Hidden files, such as the companions `._name` of macOS, are nobody's list.
    return path.suffix.lower() == ".txt" and not path.name.startswith(".")


def _is_bare_list(path: Path) -> bool:
    return _may_be_list(path) and path.stem.lower() in SPLIT_ORDER


def _looks_like_list(path: Path) -> bool:
    """Whether the first entry has no blank in it; the first line of a readme usually has."""
    with path.open("rb") as file:
        start = _LINE_END.split(_text(file.read(4096)) or "x x")
    first = next((line.strip() for line in start if line.strip()), "x x")
    return " " not in first

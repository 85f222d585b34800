"""Finds folders and image files despite other letter case or endings, inside the data set only."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from data_pipelines.building.report import Report

ENDINGS = (".jpg", ".jpeg", ".png")


def find_dir(parent: Path, *names: str) -> Path | None:
    """The first of `names` that is a folder in `parent`, in this or another letter case."""
    if not parent.is_dir():
        return None
    folders = sorted(path.name for path in parent.iterdir() if path.is_dir())
    for name in names:
        same = [name] if name in folders else [f for f in folders if f.lower() == name.lower()]
        if same:
            return parent / same[0]
    return None


def require_dir(parent: Path, report: Report, *names: str) -> Path | None:
    """As `find_dir`, but reports `missing_root` with the first name if there is no such folder."""
    found = find_dir(parent, *names)
    if found is None:
        report.error("missing_root", f"{parent / names[0]}{os.sep}")
    return found


class Index(Protocol):
    """Looks up the files of one role by name and lists those that were never looked up."""

    folder: Path

    def find(self, name: str) -> Path | None:
        """The path for the file name `name`, or None."""
        ...

    def orphans(self) -> Iterable[Path]:
        """The files that were never looked up."""
        ...


class FileIndex:
    """The image files of one folder, listed once, so that a lookup needs no system call.

    A link that leads out of `root` is reported as `path_traversal` when it is looked up, unless the
    report allows links. Accents in names are one character or two, depending on the system that
    unpacked the files: they are the same name. Hidden files, such as those that macOS keeps beside
    every picture, are passed over.
    """

    def __init__(self, folder: Path, root: Path, report: Report) -> None:
        self.folder = folder
        self._root = root.resolve()
        self._report = report
        self._links: set[str] = set()
        self._by_stem: dict[str, list[str]] = {}
        self._names: set[str] = set()
        self._found: set[str] = set()
        if self._leads_out(folder):
            report.error("path_traversal", f"{folder} is a link out of {root}")
        # Sorted, because the order of a directory differs between file systems.
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                stem, ending = os.path.splitext(entry.name)
                if entry.name.startswith("."):
                    continue
                if ending.lower() in ENDINGS and entry.is_file():
                    self._names.add(entry.name)
                    self._by_stem.setdefault(_plain(stem), []).append(entry.name)
                    if entry.is_symlink():
                        self._links.add(entry.name)

    def find(self, name: str) -> Path | None:
        """The file `name`, or else one whose stem differs only in letter case or ending."""
        if name not in self._names:
            stem, ending = os.path.splitext(name)
            candidates = self._by_stem.get(_plain(stem), [])
            if not candidates:
                return None
            name = min(candidates, key=lambda other: _distance(other, stem, ending))
        self._found.add(name)
        path = self.folder / name
        if name in self._links and self._leads_out(path):
            self._report.error("path_traversal", f"{path} is a link out of {self._root}")
        return path

    def _leads_out(self, path: Path) -> bool:
        return not self._report.follow_links and not path.resolve().is_relative_to(self._root)

    def names(self) -> list[str]:
        """The names of all image files, sorted."""
        return sorted(self._names)

    def stems(self) -> list[str]:
        """The stems of all image files, sorted."""
        return sorted(os.path.splitext(name)[0] for name in self._names)

    def orphans(self) -> Iterable[Path]:
        """The files that were never looked up, sorted by name."""
        return (self.folder / name for name in sorted(self._names - self._found))


def _plain(stem: str) -> str:
    """The same for names that differ in letter case, or in how accents are written."""
    return unicodedata.normalize("NFC", stem).lower()


def _distance(name: str, stem: str, ending: str) -> tuple[bool, bool, int, str]:
    """Sort key of candidates: same stem first, then same ending, the order of ENDINGS, the name."""
    found_stem, found_ending = os.path.splitext(name)
    found_stem, stem = (unicodedata.normalize("NFC", text) for text in (found_stem, stem))
    same_ending = found_ending.lower() == ending.lower()
    return found_stem != stem, not same_ending, ENDINGS.index(found_ending.lower()), name


def locate(index: Index, name: str, absent: str, report: Report) -> Path | None:
    """Looks up a file by name; reports a fault of kind `absent` if there is none."""
    path = index.find(name)
    if path is None:
        report.error(absent, str(index.folder / name))
    return path


def note_orphans(indices: Sequence[Index | None], report: Report) -> None:
    """Reports a warning for every file that was never looked up."""
    for index in filter(None, indices):
        for path in index.orphans():
            report.warn("orphan_file", str(path))

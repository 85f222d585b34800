"""Reads WikiArt: its lists as split by cs-chan/ArtGAN, and its files.

Source: docs/data.md, "Layouts".
"""

import os
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.building.files import FileIndex, find_dir
from data_pipelines.building.lists import Line, drop_duplicates, is_unsafe
from data_pipelines.building.report import Report, logger
from jaxharm.images import read_file


@dataclass(frozen=True)
class Painting:
    """A painting: the folder of its style and its file name."""

    style: str
    file: str

    @property
    def id(self) -> str:
        """`<style>/<file without ending>`."""
        return f"{self.style}/{os.path.splitext(self.file)[0]}"


def read_paintings(path: Path, report: Report) -> list[Painting]:
    """Reads a list of lines `<style>/<file>.jpg,<class>`; each painting is returned once.

    Lines are split at the last comma, because file names may hold commas. A list that is not UTF-8
    is read as Latin-1, with a warning.
    """
    raw = read_file(path).removeprefix(b"\xef\xbb\xbf")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        logger.warning("%s is not UTF-8: read as Latin-1", path)
        text = raw.decode("latin-1")
    keyed, paintings = [], {}
    for number, entry in enumerate(text.split("\n"), 1):
        line = Line(entry.strip(" \t\r"), path, number)
        if not line.text:
            continue
        name, comma, label = line.text.rpartition(",")
        parts = name.split("/")
        # Two dots inside a title are harmless; as a part of the path they lead to the parent folder.
        if ".." in parts or is_unsafe(name.replace("..", "")):
            report.error("path_traversal", str(line))
        elif not comma or not label.strip().isdecimal() or len(parts) != 2 or not all(parts):
            report.error("bad_list_line", f"{line} is not <style>/<file>.jpg,<class>")
        else:
            painting = Painting(*parts)
            paintings[painting.id] = painting
            keyed.append((painting.id, line))
    return [paintings[key] for key, _ in drop_duplicates(keyed, report)]


class PaintingFiles:
    """Finds the files of paintings; the folder of a style is listed once, when first needed."""

    def __init__(self, root: Path, report: Report) -> None:
        self._root = root
        self._report = report
        self._folders: dict[str, FileIndex | None] = {}

    def find(self, painting: Painting) -> Path | None:
        """The painting's file, or None."""
        style = painting.style
        if style not in self._folders:
            folder = find_dir(self._root, style)
            self._folders[style] = FileIndex(folder, self._root, self._report) if folder else None
        index = self._folders[style]
        return index.find(painting.file) if index else None

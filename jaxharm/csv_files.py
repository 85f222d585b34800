"""Tables that people make: CSV in the encodings and with the separators that spreadsheets write."""

import codecs
import csv
import gzip
import io
import os
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxharm.errors import InputError
from jaxharm.images import read_file

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Row(NamedTuple):
    """One line of a table: its number in the file, and its cells by column, without blanks around."""

    line: int
    cells: dict[str, str]


class Lines(NamedTuple):
    """The lines of a CSV file that are not empty.

    Attributes:
        cells: number in the file and cells, without blanks around, of each line.
        how: encoding and separator, in words.
    """

    cells: list[tuple[int, list[str]]]
    how: str


def read_table(
    path: str | os.PathLike[str], columns: Sequence[str], optional: Sequence[str] = ()
) -> list[Row]:
    """Reads a CSV file whose first line names its columns; see `read_lines`.

    Args:
        path: the file.
        columns: names that the first line must have, in any order and letter case; others are
            ignored.
        optional: names that it may have; without one its cells are empty.

    Raises:
        InputError: no such file, no text, or a first line without these columns; the message names
            the encoding and the separator.
    """
    (cells, how) = read_lines(path)
    names = [name.casefold() for name in cells[0][1]] if cells else []
    missing = [name for name in columns if name.casefold() not in names]
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)} in its first line (read as {how})"
        )
    known = [*columns, *(name for name in optional if name.casefold() in names)]
    places = {name: names.index(name.casefold()) for name in known}
    empty = dict.fromkeys(optional, "")
    return [
        Row(line, empty | {name: row[i] if i < len(row) else "" for name, i in places.items()})
        for line, row in cells[1:]
    ]


def read_lines(path: str | os.PathLike[str]) -> Lines:
    """Reads a CSV file (or .csv.gz).

    UTF-8, UTF-16 and UTF-32 are told by their marks; what is not UTF-8 is read as Windows-1252,
    with a warning. The separator is the one that the first line has: , ; tab or |.

    Raises:
        InputError: no such file, or no text.
    """
    path = Path(path)
    text, encoding = _decode(_read(path), path)
    # Excel's own hint, which is no line of the table.
    hint = text[4:5] if text[:4].lower() == "sep=" else ""
    header = next((line for line in text.splitlines() if line.strip()), "")
    separator = hint.strip("\r\n") or max(_SEPARATORS, key=header.count)
    how = f"{encoding}, separated by {_SEPARATORS.get(separator, repr(separator))}"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}, read as {how}: line {reader.line_num}: {error}") from None
    return Lines([row for row in rows[1 if hint else 0 :] if any(row[1])], how)


def _read(path: Path) -> bytes:
    try:
        data = read_file(path)
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:  # gzip's own error is an OSError
        raise InputError(f"cannot read {path}: {error}") from None


def _decode(data: bytes, path: Path) -> tuple[str, str]:
    """The text and the name of its encoding."""
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    # Without a mark, text of Latin letters in UTF-16 has a zero byte in each of them.
    if marked is None and data[:2].count(b"\0") == 1:
        marked = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    name = (marked or "utf-8").upper().removesuffix("-SIG")
    try:
        return data.decode(marked or "utf-8"), name
    except UnicodeDecodeError:
        if marked is not None or b"\0" in data:
            raise InputError(f"{path} is no text in {name}: save it as CSV UTF-8") from None
    warnings.warn(f"{path} is not UTF-8: read as Windows-1252", stacklevel=3)
    return data.decode("cp1252", "replace"), "Windows-1252"

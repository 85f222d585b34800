"""Tables as spreadsheets write them: encodings, separators, line endings, damage."""

import gzip
import warnings

import pytest

from jaxharm.csv_files import read_table
from jaxharm.errors import InputError

COLUMNS = ("image", "winner")
TEXT = "image,note,winner\n1,Stra\u00dfe,A\n\n2,,B\n"
ROWS = [(2, {"image": "1", "winner": "A"}), (4, {"image": "2", "winner": "B"})]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_every_way_of_saving_gives_the_same_rows(tmp_path, separator, ending, encoding):
    text = TEXT.replace(",", separator).replace("\n", ending)
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if encoding == "cp1252" else "error")
        assert read_table(tmp_path / "a.csv", COLUMNS) == ROWS
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert read_table(tmp_path / "a.csv.gz", COLUMNS) == ROWS


def test_a_guessed_encoding_is_said(tmp_path):
    (tmp_path / "a.csv").write_bytes(TEXT.encode("cp1252"))
    with pytest.warns(UserWarning, match="read as Windows-1252"):
        read_table(tmp_path / "a.csv", COLUMNS)


def test_excels_hint_names_in_other_case_and_blanks(tmp_path):
    (tmp_path / "a.csv").write_text('sep=;\nImage; WINNER \n"1";" A,B "\n;;\n')
    assert read_table(tmp_path / "a.csv", COLUMNS) == [(3, {"image": "1", "winner": "A,B"})]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "lacks the columns image, winner in its first line (read as UTF-8, separated by com"),
        (
            b"image;x\n",
            "lacks the columns winner in its first line (read as UTF-8, separated by semi",
        ),
        (b"\xff\xfei\x00m", "is no text in UTF-16"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is no text"),
        (b'image,winner\n1,"' + b"x" * 200_000, "field larger than field limit"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path, data, words):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError) as error:
        read_table(tmp_path / "a.csv", COLUMNS)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_gzip_and_absent_files_are_refused(tmp_path):
    data = gzip.compress(TEXT.encode() * 99)
    for damaged in (data[:-9], data[:20] + b"xx" + data[22:], b"text"):
        (tmp_path / "a.csv.gz").write_bytes(damaged)
        with pytest.raises(InputError, match="cannot read"):
            read_table(tmp_path / "a.csv.gz", COLUMNS)
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "none.csv", COLUMNS)

"""Rules on list files: form of a line, safety, duplicates, which file is a split's list."""

import pytest

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.lists import (
    list_for_split,
    lists_by_split,
    parse_composite,
    parse_id,
    read_composites,
    read_ids,
)
from data_pipelines.building.report import Report


def report_kinds(report: Report) -> tuple[str, ...]:
    try:
        report.raise_errors()
    except DatasetValidationError as error:
        return error.kinds
    return ()


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("a0002_1_4.jpg", ("a0002_1_4", "a0002_1", "a0002")),
        ("d90000012-181_1_17.JPG", ("d90000012-181_1_17", "d90000012-181_1", "d90000012-181")),
        ("Canon_0016_a_10.png", ("Canon_0016_a_10", "Canon_0016_a", "Canon_0016")),
    ],
)
def test_a_composite_name_is_split_from_the_right(name, ids):
    parsed = parse_composite(name)
    assert (parsed.composite_id, parsed.mask_id, parsed.real_id) == ids


@pytest.mark.parametrize(
    "name", ["a_1.jpg", "a_1_1", "a_1_1.gif", "_1_1.jpg", "x/a_1_1.jpg", "a__1.jpg"]
)
def test_other_names_are_no_composites(name):
    assert parse_composite(name) is None


def test_ids_are_given_with_or_without_an_ending():
    assert [parse_id(n) for n in ("image_1", "image_1.JPG", "a.b.png")] == [
        "image_1",
        "image_1",
        "a.b",
    ]
    assert parse_id("x/image_1") is None
    assert parse_id(".png") is None


def test_line_ends_blanks_and_a_missing_last_newline_do_not_count(tmp_path):
    path = tmp_path / "t_train.txt"
    path.write_bytes(b"\xef\xbb\xbfa_1_1.jpg \r\n\r\n   \nb_1_1.jpg\t\n#c_1_1.jpg")
    report = Report("t")
    names = read_composites(path, report)
    assert [name.file for name in names] == ["a_1_1.jpg", "b_1_1.jpg", "#c_1_1.jpg"]
    assert report_kinds(report) == ()


@pytest.mark.parametrize(
    "line",
    [
        b"/etc/a_1_1.jpg",
        b"../a_1_1.jpg",
        b"C:a_1_1.jpg",
        b"\\\\server\\a_1_1.jpg",
        b"a\x00_1_1.jpg",
        b"a\x1f_1_1.jpg",
    ],
)
def test_unsafe_lines_are_never_skippable(tmp_path, line):
    path = tmp_path / "t_train.txt"
    path.write_bytes(b"ok_1_1.jpg\n" + line + b"\n")
    report = Report("t", on_error="skip")
    assert len(read_composites(path, report)) == 1
    with pytest.raises(DatasetValidationError, match=r"t_train\.txt:2") as error:
        report.raise_errors()
    assert error.value.kinds == ("path_traversal",)


@pytest.mark.parametrize("line", [b"a_1.jpg", b"folder/a_1_1.jpg", b"\xff\xfe_1_1.jpg"])
def test_bad_lines_are_named_with_file_and_number(tmp_path, line):
    path = tmp_path / "t_train.txt"
    path.write_bytes(b"\n" + line)
    report = Report("t", on_error="skip")
    assert read_composites(path, report) == []
    with pytest.raises(DatasetValidationError, match=r"bad_list_line.*t_train\.txt:2"):
        report.raise_errors()


def test_a_duplicate_is_named_with_both_lines_and_the_first_is_kept(tmp_path):
    path = tmp_path / "t_train.txt"
    path.write_text("a_1_1.jpg\nb_1_1.jpg\na_1_1.jpg\n")
    report = Report("t")
    read_composites(path, report)
    with pytest.raises(DatasetValidationError, match=r"a_1_1 at t_train\.txt:1 and :3"):
        report.raise_errors()
    skipping = Report("t", on_error="skip")
    assert [name.file for name in read_composites(path, skipping)] == ["a_1_1.jpg", "b_1_1.jpg"]
    assert skipping.skipped == {"duplicate_entry": 1}
    path.write_text("a\na.jpg\n")
    assert read_ids(path, skipping) == ["a"]
    assert skipping.skipped == {"duplicate_entry": 2}


def test_the_exact_list_wins_and_two_others_are_an_error(tmp_path):
    report = Report("t")
    assert list_for_split(tmp_path, "HCOCO", "train", report) is None
    (tmp_path / "mine_train.txt").touch()
    assert list_for_split(tmp_path, "HCOCO", "train", report).name == "mine_train.txt"
    (tmp_path / "other_train.txt").touch()
    assert list_for_split(tmp_path, "HCOCO", "train", report) is None
    assert report_kinds(report) == ("missing_list",)
    (tmp_path / "hcoco_Train.txt").touch()
    assert list_for_split(tmp_path, "HCOCO", "train", Report("t")).name == "hcoco_Train.txt"


def test_any_split_name_is_found_and_notes_are_not_lists(tmp_path):
    (tmp_path / "toy_train.txt").write_text("a_1_1.jpg\n")
    (tmp_path / "other_train.txt").write_text("b_1_1.jpg\n")
    (tmp_path / "toy_holdout.txt").write_text("c_1_1.jpg\n")
    (tmp_path / "read_me.txt").write_text("This is a note.\n")
    report = Report("t")
    found = lists_by_split(tmp_path, ("toy",), report)
    assert {split: path.name for split, path in found.items()} == {
        "train": "toy_train.txt",
        "holdout": "toy_holdout.txt",
    }
    assert report_kinds(report) == ()
    assert lists_by_split(tmp_path, ("else",), report).keys() == {"holdout"}
    assert report_kinds(report) == ("missing_list",)


@pytest.mark.parametrize(
    "raw",
    [
        "a_1_1.jpg\r\nb_1_1.jpg\r\n".encode("utf-16"),
        b"\xfe\xff" + "a_1_1.jpg\nb_1_1.jpg".encode("utf-16-be"),
        b"a_1_1.jpg\rb_1_1.jpg\r",
    ],
)
def test_lists_of_other_systems_are_read(tmp_path, raw):
    (tmp_path / "t_train.txt").write_bytes(raw)
    (tmp_path / "._t_train.txt").write_bytes(b"\0\5\x16\7 a companion of macOS")
    report = Report("t")
    (path,) = lists_by_split(tmp_path, ("t",), report).values()
    assert [name.file for name in read_composites(path, report)] == ["a_1_1.jpg", "b_1_1.jpg"]
    report.raise_errors()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"composite_images\\a_1_1.jpg", "has a backslash: write the bare file name"),
        ("a_1_1.jpg".encode("utf-16-le"), "is UTF-16 without its mark: save it as UTF-8"),
        ("a\xfc_1_1.jpg".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_lists_that_cannot_be_read_say_why(tmp_path, raw, reason):
    (tmp_path / "t_train.txt").write_bytes(raw)
    report = Report("t")
    assert read_composites(tmp_path / "t_train.txt", report) == []
    with pytest.raises(DatasetValidationError, match=reason) as error:
        report.raise_errors()
    assert error.value.kinds == ("bad_list_line",)

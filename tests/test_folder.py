"""`jaxharm harmonize --folder`: every file is accounted for, nothing is lost, one bad file ends nothing."""

import csv
import errno
import json
import os
import struct
import time
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jaxharm.__main__ import main
from jaxharm.cli import folder as loop
from jaxharm.cli import job
from jaxharm.cli.pairing import find_pairs, natural_key
from jaxharm.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8)
MASK = np.zeros((24, 20), np.uint8)
MASK[6:18, 5:15] = 255


def write_look(file, lowest):
    """Curves that `--params` renders without network and weights."""
    curve = np.linspace(lowest, 1, 4).tolist()
    curves = dict.fromkeys(("red", "green", "blue"), curve)
    rest = {"single_alpha": False, "shading": None, "curves": curves}
    file.write_text(json.dumps({"format": "jaxharm-parameters-1", **rest}))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    write_look(tmp_path / "look.json", 0.2)
    return tmp_path / "in"


def add(folder, name, mask=True, image=IMAGE):
    """Writes a composite and its mask; returns the composite's path."""
    path = folder / name
    Image.fromarray(image).save(path)
    if mask:
        Image.fromarray(MASK).save(folder / f"{path.stem}_mask.png")
    return path


def harmonize(folder, *options, out=None):
    out = out or folder.parent / "out"
    look = () if "--params" in options else ("--params", folder.parent / "look.json")
    return main(["harmonize", "--folder", *map(str, (folder, "-o", out, *look, *options))])


def report(folder, out=None):
    with ((out or folder.parent / "out") / "report.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def states(folder, **place):
    return {name: row["status"] for name, row in report(folder, **place).items()}


def test_every_file_is_in_the_report_once(folder, capsys):
    add(folder, "a.png")
    add(folder, "b.gif")
    add(folder, "night_bg.png")  # its mask says that it is a composite
    add(folder, "c.png")
    add(folder, "c_bg.png", mask=False)
    add(folder, "c_real.png", mask=False)
    add(folder, "lonely.png", mask=False)
    add(folder, "of_nobody_mask.png", mask=False)
    (folder / "phone.heic").write_bytes(b"no reader")
    Image.fromarray(MASK).save(folder / "phone_mask.png")
    (folder / "raw.CR2").write_bytes(b"no reader")
    (folder / "cut.jpg").write_bytes((folder / "a.png").read_bytes()[:200])
    Image.fromarray(MASK).save(folder / "cut_mask.png")
    (folder / "away.png").symlink_to("nowhere.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "._a.png").write_bytes(b"macOS")
    (folder / "more").mkdir()
    assert harmonize(folder) == 2
    found = report(folder)
    names = {f"{p.name}/" if p.is_dir() else p.name for p in folder.iterdir()}
    assert set(found) == names
    made = {name for name, row in found.items() if row["status"] == "made"}
    assert made == {"a.png", "b.gif", "night_bg.png", "c.png"}
    assert {row["result"] for row in found.values()} - {""} == {
        *("a.png", "b.png", "night_bg.png", "c.png"),
    }
    failed = {name for name, row in found.items() if row["status"] == "failed"}
    assert failed == {"lonely.png", "phone.heic", "cut.jpg", "away.png"}
    assert all(row["reason"] for row in found.values() if row["status"] in ("failed", "skipped"))
    assert found["c_bg.png"]["reason"] == "the background of c.png"
    assert found["phone_mask.png"]["reason"] == "the mask of phone.heic"
    assert "4 made, 0 kept, 4 failed, 13 skipped" in capsys.readouterr().out


def test_kept_means_same_pictures_weights_and_options(folder, capsys):
    for name in ("a.png", "b.png", "c.png"):
        add(folder, name)
    out = folder.parent / "out"
    assert harmonize(folder) == 0
    first = (out / "b.png").read_bytes()
    add(folder, "a.png", image=IMAGE[::-1])
    os.utime(folder / "b.png")  # touched, with the same content
    assert harmonize(folder) == 0
    assert states(folder)["a.png"] == "made"
    assert report(folder)["a.png"]["reason"] == "again: its composite changed"
    assert states(folder)["b.png"] == states(folder)["c.png"] == "kept"
    capsys.readouterr()

    assert harmonize(folder, "--strength", "0.5") == 0
    assert "3 made, 0 kept, 0 failed" in capsys.readouterr().out
    assert report(folder)["b.png"]["reason"] == "again: strength was 1.0, is 0.5"
    assert (out / "b.png").read_bytes() != first
    write_look(folder.parent / "look.json", 0.1)
    assert harmonize(folder, "--strength", "0.5") == 0
    assert report(folder)["b.png"]["reason"] == "again: params changed"
    add(folder, "b_bg.png", mask=False)
    assert harmonize(folder, "--strength", "0.5") == 0
    assert report(folder)["b.png"]["reason"] == "again: it had no background"
    assert states(folder)["a.png"] == "kept"


def test_what_was_not_made_by_a_run_before_is_left_alone(folder, capsys):
    for name in ("a.png", "b.png"):
        add(folder, name)
    out = folder.parent / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"somebody's work")
    assert harmonize(folder) == 2
    assert (out / "a.png").read_bytes() == b"somebody's work"
    assert "--overwrite replaces it" in report(folder)["a.png"]["reason"]
    Image.fromarray(IMAGE).save(out / "b.png")  # retouched by hand
    retouched = (out / "b.png").read_bytes()
    assert harmonize(folder, "--strength", "0.5") == 2
    assert (out / "b.png").read_bytes() == retouched
    assert "was changed after it was made" in report(folder)["b.png"]["reason"]
    assert harmonize(folder, "--overwrite") == 0
    assert states(folder)["a.png"] == states(folder)["b.png"] == "made"
    capsys.readouterr()
    assert harmonize(folder) == 0
    assert "0 made, 2 kept" in capsys.readouterr().out


def test_a_run_that_was_cut_off_is_finished(folder):
    add(folder, "a.png")
    assert harmonize(folder) == 0
    record = next((folder.parent / "out").glob(".*.jsonl"))
    lines = record.read_text().splitlines()
    assert lines[-1].startswith('{"result"')
    # Cut off after the picture and in the middle of its line.
    record.write_text("\n".join([*lines[:-1], lines[-1][:30]]))
    assert harmonize(folder) == 0
    assert report(folder)["a.png"]["reason"] == "the run before was cut off while it wrote"


def test_images_beside_masks(folder):
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for stem in ("a", "b"):
        Image.fromarray(IMAGE).save(folder / f"images/{stem}.jpg")
        Image.fromarray(MASK).save(folder / f"masks/{stem}.png")
    (folder / "notes.txt").write_text("no picture")
    assert harmonize(folder) == 0
    assert {name: states(folder)[name] for name in ("images/a.jpg", "images/b.jpg")} == {
        "images/a.jpg": "made",
        "images/b.jpg": "made",
    }
    assert sorted(path.name for path in (folder.parent / "out").glob("*.png")) == ["a.png", "b.png"]


def test_images_do_not_count_where_pictures_lie_beside_them(folder):
    add(folder, "a.png", mask=False)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    Image.fromarray(MASK).save(folder / "masks/a.png")
    Image.fromarray(IMAGE).save(folder / "images/b.png")
    assert harmonize(folder) == 0
    assert states(folder)["a.png"] == "made"
    assert states(folder)["images/"] == "skipped"


@pytest.mark.parametrize("place", ["itself", "link", "masks", "composite_images"])
@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_results_go_to_no_folder_that_is_read(folder, capsys, place, more):
    target = folder
    if place == "link":
        target = folder.parent / "link"
        target.symlink_to(folder)
    elif place == "masks":
        target = folder / "Masks"
        target.mkdir()
    elif place == "composite_images":
        folder = folder / place
        folder.mkdir()
        target, folder = folder, folder.parent
    add(target if place != "masks" else folder, "a.png")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    assert harmonize(folder, *more, out=target) == 2
    assert "would replace them" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_result_never_replaces_a_picture_behind_a_link(folder, link):
    path = add(folder, "a.png")
    before = path.read_bytes()
    (folder.parent / "out").mkdir()
    link(path, folder.parent / "out/a.png")
    assert harmonize(folder, "--overwrite") == 2
    assert path.read_bytes() == before
    assert "is one of the pictures that are read" in report(folder)["a.png"]["reason"]


@pytest.mark.parametrize("option", ["-o", "--export-cube", "--export-shading", "--save-params"])
@pytest.mark.parametrize("which", ["a.png", "a_mask.png"])
def test_one_picture_is_not_written_over_what_is_read(folder, capsys, option, which):
    path = add(folder, "a.png")
    before = (folder / which).read_bytes()
    (folder / "link.png").symlink_to(folder / which)
    given = [path, folder / "a_mask.png", "--params", folder.parent / "look.json"]
    if option == "--save-params":
        given[2:] = ["--checkpoint", "weights"]
    output = [] if option == "-o" else ["-o", folder / "new.png"]
    assert main(["harmonize", *map(str, [*given, *output, option, folder / "link.png"])]) == 2
    assert "which is read" in capsys.readouterr().err
    assert (folder / which).read_bytes() == before


def test_whatever_one_file_brings_the_others_are_done(folder, monkeypatch):
    for name in ("a.png", "b.png", "c.png", "d.png"):
        add(folder, name)
    load, save = job.load_files, job.write_results

    def failing_load(watch, composite, *rest):
        if composite.name == "b.png":
            raise struct.error("argument out of range")
        return load(watch, composite, *rest)

    def failing_save(watch, path, *rest):
        if path.name == "c.png":
            raise MemoryError("no memory\nfor it")
        return save(watch, path, *rest)

    monkeypatch.setattr(job, "load_files", failing_load)
    monkeypatch.setattr(job, "write_results", failing_save)
    assert harmonize(folder) == 2
    found = report(folder)
    assert [found[f"{n}.png"]["status"] for n in "abcd"] == ["made", "failed", "failed", "made"]
    assert found["b.png"]["reason"].endswith("error: argument out of range")
    assert found["c.png"]["reason"].endswith("MemoryError: no memory for it")


def test_a_full_disk_ends_the_run_and_is_said(folder, monkeypatch, capsys):
    for name in ("a.png", "b.png", "c.png", "d.png"):
        add(folder, name)
    save = job.write_results

    def full(watch, path, *rest):
        if path.name == "b.png":

            def probe(out_dir):
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(loop, "_probe", probe)
            raise InputError("cannot write b.png: No space left on device")
        return save(watch, path, *rest)

    monkeypatch.setattr(job, "write_results", full)
    assert harmonize(folder) == 2
    assert list(states(folder).values()).count("failed") == 3
    assert "No space left" in report(folder)["d.png"]["reason"]
    assert "1 made, 0 kept, 3 failed" in capsys.readouterr().out


def test_the_disk_is_checked_before_the_work(folder, monkeypatch, capsys):
    add(folder, "a.png")
    monkeypatch.setattr(loop.shutil, "disk_usage", lambda path: SimpleNamespace(free=3))
    assert harmonize(folder) == 2
    assert "the disk of" in capsys.readouterr().err


def test_a_mask_of_another_composite_is_not_taken(folder):
    (folder / "masks").mkdir()
    for name in ("trip_day.png", "trip_day_1.png", "trip_night_1.png"):
        add(folder, name, mask=False)
    for name in ("trip_day", "trip_night"):
        Image.fromarray(MASK).save(folder / f"masks/{name}.png")
    assert harmonize(folder) == 2
    found = report(folder)
    assert found["trip_day_1.png"]["status"] == "failed"
    assert "is that of trip_day.*" in found["trip_day_1.png"]["reason"]
    assert found["trip_night_1.png"]["reason"] == "its mask is trip_night.png, by iHarmony4's names"


def test_accents_in_one_part_or_two_are_the_same_name(folder):
    name = "Mu\u0308ller \u00e9tude"
    add(folder, f"{unicodedata.normalize('NFC', name)}.png", mask=False)
    Image.fromarray(MASK).save(folder / f"{unicodedata.normalize('NFD', name)}_mask.png")
    assert harmonize(folder) == 0


def test_names_that_are_no_text_are_reported(folder):
    path = os.fsencode(folder) + b"/\xff.png"
    Image.fromarray(IMAGE).save(folder / "a.png")
    os.rename(folder / "a.png", path)
    assert harmonize(folder) == 2
    assert states(folder) == {"\\udcff.png": "failed"}


@pytest.mark.slow
def test_ten_thousand_files_are_listed_quickly(folder):
    for number in range(5000):
        (folder / f"f{number}.png").touch()
        (folder / f"f{number}_mask.png").touch()
    start = time.process_time()
    listing = find_pairs(folder, folder.parent / "out")
    assert (len(listing.pairs), len(listing.helpers)) == (5000, 5000)
    assert time.process_time() - start < 5


def test_frames_are_numbered_as_people_do():
    names = ["f10", "F2", "f1", "f1b", "f01", "f", "g1", "f2.5", "9", "f999999999999999999999"]
    ordered = ["9", "f", "f01", "f1", "f1b", "F2", "f2.5", "f10", "f999999999999999999999", "g1"]
    assert sorted(names, key=natural_key) == ordered


def test_pairs_come_in_the_order_of_frames(folder):
    for number in (1, 2, 9, 10, 11, 100):
        add(folder, f"shot {number}.png")
    pairs = find_pairs(folder, folder.parent / "out").pairs
    assert [pair.composite.stem for pair in pairs] == [
        f"shot {number}" for number in (1, 2, 9, 10, 11, 100)
    ]

"""The commands build and verify: exit status, messages, repeated, interrupted and damaged builds."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.fixtures_data import box_mask, write_image, write_tree

from data_pipelines import build as build_command
from data_pipelines import verify as verify_command
from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.reading import dataset_info, list_built, open_source


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    lists = {"toy_train.txt": ["a_1_1.jpg", "b_1_1.jpg"], "toy_test.txt": ["t_1_1.jpg"]}
    return write_tree(tmp_path / "toy", lists)


def run_build(*arguments: object) -> int:
    return build_command.main([str(argument) for argument in arguments])


def run_verify(*arguments: object) -> int:
    return verify_command.main([str(argument) for argument in arguments])


def test_build_and_verify_say_what_is_there_and_what_is_next(toy, tmp_path, capfd):
    data = tmp_path / "data"
    assert run_build("folder", "--manual-dir", toy, "--data-dir", data, "--name", "mine") == 0
    said = capfd.readouterr()
    assert f"mine: train 2, test 1 records in {data / 'mine' / '1.0.0'}" in said.out
    assert f"jaxharm data verify mine --data-dir {data}" in said.out
    assert said.err == ""
    assert run_verify("mine", "--data-dir", data) == 0
    assert "mine: train 2, test 1 records, all sound" in capfd.readouterr().out


def test_skipping_is_reported(toy, tmp_path, capsys):
    write_image(toy / "masks/b_1.png", 0 * box_mask())
    arguments = ("folder", "--manual-dir", toy, "--data-dir", tmp_path / "data")
    assert run_build(*arguments) == 2
    assert "empty_mask (1)" in capsys.readouterr().err
    assert run_build(*arguments, "--on-error", "skip") == 0
    said = capsys.readouterr()
    assert "left out: empty_mask 1" in said.out
    assert "masks/b_1.png" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "there is no builder 'nothing'"),
        (["demo/small"], "there is no builder 'demo/small'"),
        (["iharmony4/hpics", "--manual-dir", "{toy}"], "no part 'hpics'"),
        (["iharmony4/hpics_512", "--manual-dir", "{toy}"], "no part 'hpics'"),
        (["iharmony4/all_512", "--manual-dir", "{toy}", "--max-side", "9"], "leave 9 out"),
        (
            ["ffhqh", "--manual-dir", "{toy}", "--name", "x"],
            "--name is for folder, photos and varying",
        ),
        (["folder", "--manual-dir", "{toy}", "--name", "demo"], "name of a builder"),
        (["folder", "--manual-dir", "{toy}", "--name", "My-Set"], "not a data set name"),
        (["folder", "--manual-dir", "{toy}/none"], "missing_root"),
        (["folder", "--manual-dir", "{toy}/masks"], "missing_list"),
        (["folder"], "downloads"),
        (["folder", "--manual-dir", "{toy}", "--max-side", "-1"], "must not be negative"),
        (["photos", "--manual-dir", "{toy}", "--name", "toy"], "missing_root"),
    ],
)
def test_bad_arguments_end_with_status_2_and_no_traceback(toy, tmp_path, capsys, arguments, words):
    filled = [argument.format(toy=toy) for argument in arguments]
    assert run_build(*filled, "--data-dir", tmp_path / "data") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert list_built(tmp_path / "data") == []


def test_building_again_changes_nothing_unless_the_files_changed(toy, tmp_path):
    first = build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    written = [path.stat().st_mtime_ns for path in sorted(first.path.iterdir())]
    again = build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    assert [path.stat().st_mtime_ns for path in sorted(again.path.iterdir())] == written
    (toy / "toy_train.txt").write_text("b_1_1.jpg\n")
    changed = build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    assert changed.splits == {"train": 1, "test": 1}
    assert changed.fingerprint != first.fingerprint
    with pytest.raises(DatasetValidationError, match="of builder folder; choose another"):
        build("photos", manual_dir=toy, data_dir=tmp_path / "data", name="toy")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["toy"]


def test_a_failed_rebuild_leaves_the_earlier_data_set(toy, tmp_path):
    first = build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    (toy / "masks/b_1.png").unlink()
    with pytest.raises(DatasetValidationError):
        build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    assert dataset_info("toy", tmp_path / "data").fingerprint == first.fingerprint


_KILLED = """
import os, sys
from data_pipelines.build import build
from data_pipelines.building.records import RecordLoader
load = RecordLoader.load
def die(self, item):
    if item.composite_id == "t_1_1":
        os._exit(9)
    return load(self, item)
RecordLoader.load = die
build("folder", manual_dir=sys.argv[1], data_dir=sys.argv[2])
"""


def test_a_killed_build_is_not_taken_for_whole_and_can_be_repeated(toy, tmp_path):
    data = tmp_path / "data"
    root = Path(build_command.__file__).parent.parent
    killed = subprocess.run([sys.executable, "-c", _KILLED, toy, data], cwd=root, check=False)
    assert killed.returncode == 9
    assert any(data.rglob("*.array_record*"))
    assert list_built(data) == []
    with pytest.raises(DatasetValidationError, match="not built"):
        open_source("toy", data)
    assert build("folder", manual_dir=toy, data_dir=data).splits == {"train": 2, "test": 1}
    assert [path.name for path in data.iterdir()] == ["toy"]

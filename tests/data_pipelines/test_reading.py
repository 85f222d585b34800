"""Opening built data sets by name: what is not there is named; sources travel to workers."""

import pickle
from pathlib import Path

import pytest

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from data_pipelines.reading import dataset_info, open_source


def test_a_source_can_be_sent_to_a_worker_process(toy, tmp_path):
    build("folder", manual_dir=toy, data_dir=tmp_path)
    source = open_source("toy", tmp_path, "train")
    assert len(source) == 4
    copy = pickle.loads(pickle.dumps(source))
    assert copy[2] == source[2]


def test_a_data_set_that_is_not_built_is_named_with_its_command(tmp_path):
    with pytest.raises(
        MissingDatasetError, match=r"'toy' is not built.*data sets in .*: none.*--name toy"
    ):
        open_source("toy", tmp_path)
    with pytest.raises(DatasetValidationError, match="not of the form"):
        open_source("../toy", tmp_path)


def test_a_split_that_is_not_there_is_named_with_those_that_are(toy, tmp_path):
    build("folder", manual_dir=toy, data_dir=tmp_path)
    with pytest.raises(
        DatasetValidationError, match=r"no split 'val'; it has train \(4\), test \(1\)"
    ):
        open_source("toy", tmp_path, "train+val")


def test_the_data_directory_of_the_environment_is_the_default(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "env"))
    build("folder", manual_dir=toy)
    assert dataset_info("toy").path == tmp_path / "env/toy/1.0.0"


def _cut(file):
    file.write_bytes(file.read_bytes()[:1000])


def _overwrite(file):
    data = bytearray(file.read_bytes())
    data[65536:65540] = b"XXXX"
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [_cut, _overwrite, Path.unlink, lambda file: file.write_bytes(b"")]
)
def test_a_damaged_file_is_named_with_what_to_do(toy, tmp_path, damage):
    info = build("folder", manual_dir=toy, data_dir=tmp_path)
    file = next(info.path.glob("*-train.*"))
    damage(file)
    source = open_source("toy", tmp_path)
    with pytest.raises(DatasetValidationError) as error:
        [source[index] for index in range(len(source))]
    for words in (str(file), "data set 'toy'", "verify toy --data-dir", "build it again"):
        assert words in str(error.value)
    assert len(open_source("toy", tmp_path, "test")) == 1
    again = pickle.loads(pickle.dumps(error.value))  # as it comes from a worker process
    assert str(again) == str(error.value)

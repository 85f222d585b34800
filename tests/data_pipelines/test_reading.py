"""Opening built data sets by name: what is not there is named; sources travel to workers."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from data_pipelines.loader import describe_sources, open_sources
from data_pipelines.reading import SkippingSource, dataset_info, open_source
from jaxharm.config import DataConfig
from jaxharm.errors import InputError


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


def test_a_wrong_number_of_records_is_found(toy, tmp_path):
    info = build("folder", manual_dir=toy, data_dir=tmp_path)
    described = info.path / "dataset_info.json"
    stored = json.loads(described.read_text())
    for split in stored["splits"]:
        split["shardLengths"] = ["1"]
    described.write_text(json.dumps(stored))
    with pytest.raises(DatasetValidationError, match=r"train.* has 4 records, not 1\)"):
        len(open_source("toy", tmp_path, "train"))


class Broken:
    """Five records, of which some cannot be read."""

    info = None

    def __init__(self, *bad):
        self.bad = bad

    def __len__(self):
        return 5

    def __getitem__(self, index):
        if index in self.bad:
            raise DatasetValidationError(f"record {index} is damaged: build it again")
        return index


def test_records_that_cannot_be_read_are_skipped_up_to_a_limit():
    source = SkippingSource(Broken(1, 2, 4), 2)
    assert (len(source), source[0]) == (5, 0)
    with pytest.warns(UserWarning, match=r"record 1 is skipped and .* \(1 of at most 2\)"):
        assert source[1] == 3
    assert source[2] == 3  # told once
    with pytest.raises(DatasetValidationError, match="record 4 is damaged"):
        source[4]


def test_all_records_damaged_is_an_error_and_no_endless_loop():
    with (
        pytest.warns(UserWarning, match="is skipped"),
        pytest.raises(DatasetValidationError, match="is damaged"),
    ):
        SkippingSource(Broken(*range(5)), 100)[0]


def test_a_run_asks_for_skipping(toy, tmp_path):
    build("folder", manual_dir=toy, data_dir=tmp_path)
    data = DataConfig(name="toy", data_dir=str(tmp_path), on_error="skip:3")
    assert isinstance(open_sources(data)[0], SkippingSource)
    assert not isinstance(open_sources(replace(data, on_error="fail"))[0], SkippingSource)
    assert describe_sources(data) == describe_sources(replace(data, on_error="fail"))
    with pytest.raises(InputError, match=r"on_error='skip' is neither 'fail' nor 'skip:N'"):
        replace(data, on_error="skip")

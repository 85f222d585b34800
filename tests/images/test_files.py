"""Files that a user names: what has no end is not read."""

import os
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.lists import read_lines
from data_pipelines.building.report import Report
from jaxharm.csv_files import read_table
from jaxharm.errors import InputError
from jaxharm.images import read_file, read_image, read_mask


@pytest.fixture(params=["pipe", "device"])
def endless(request, tmp_path):
    path = tmp_path / "endless.png"
    if request.param == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("read", [read_image, read_mask, lambda p: read_table(p, ("a",))])
def test_a_pipe_or_a_device_is_refused(endless, read):
    with pytest.raises(InputError, match="is a pipe or a device, not a file"):
        read(endless)


def test_a_list_that_is_none_is_a_finding(endless, tmp_path):
    for path in (endless, tmp_path):
        report = Report("lists")
        assert read_lines(path, report) == []
        with pytest.raises(DatasetValidationError, match=f"{path.name} cannot be read: "):
            report.raise_errors()


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").symlink_to("a")
    assert read_file(Path(tmp_path / "b")) == b"1"
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "c")
    assert np.frombuffer(read_file(str(tmp_path / "a")), np.uint8)[0] == ord("1")

"""Trees that are read without a build give the records of a build."""

import pytest

from data_pipelines.build import build
from data_pipelines.in_place import open_folder
from data_pipelines.reading import open_source


def test_the_reader_of_plain_folders_gives_the_same_records(toy, tmp_path):
    build("folder", manual_dir=toy, data_dir=tmp_path)
    built, plain = open_source("toy", tmp_path, "train"), open_folder(toy, "train")
    assert len(built) == len(plain)
    for i in range(len(plain)):
        left, right = built[i], plain[i]
        assert left.pop("fg_ratio") == pytest.approx(right.pop("fg_ratio"))
        assert left == right

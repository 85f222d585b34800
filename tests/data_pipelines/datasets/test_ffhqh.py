"""FFHQH: both layouts of FFHQ, lists and their absence, and the construction from masks."""

from pathlib import Path

import pytest
from support.ffhq import make, write_ffhq

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.reading import open_source


@pytest.fixture
def manual_dir(tmp_path: Path) -> Path:
    """FFHQ and masks of four photographs."""
    return write_ffhq(tmp_path)


def test_made_sets_are_built_in_list_order(manual_dir):
    assert make(manual_dir) == {"train": 2, "val": 1, "test": 1}
    info = build("ffhqh", manual_dir=manual_dir, data_dir=manual_dir / "data")
    assert info.splits == {"train": 2, "val": 1, "test": 1}
    assert info.metadata["warnings"] == {}
    record = open_source("ffhqh", manual_dir / "data", "val")[0]
    assert record["composite_id"] == record["mask_id"] == record["real_id"] == "60001"
    assert record["composite"] == (manual_dir / "ffhqh/comp/60001.png").read_bytes()


def test_without_lists_the_index_decides(manual_dir):
    make(manual_dir)
    for path in (manual_dir / "ffhqh").glob("*_split.txt"):
        path.unlink()
    info = build("ffhqh", manual_dir=manual_dir, data_dir=manual_dir / "data")
    assert info.splits == {"train": 2, "val": 1, "test": 1}
    assert info.metadata["warnings"] == {"missing_list": 1}


def test_missing_photographs_and_folders_are_named(manual_dir):
    make(manual_dir)
    (manual_dir / "ffhq/images1024x1024/00007.png").unlink()
    with pytest.raises(DatasetValidationError, match=r"missing_real.*00007\.png"):
        build("ffhqh", manual_dir=manual_dir, data_dir=manual_dir / "data")
    (manual_dir / "ffhq").rename(manual_dir / "elsewhere")
    with pytest.raises(DatasetValidationError, match=r"missing_root.*images1024x1024"):
        build("ffhqh", manual_dir=manual_dir, data_dir=manual_dir / "data")

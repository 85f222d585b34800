"""The builder of RealHM, and background plates in trees of other layouts."""

from pathlib import Path

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.loader import eval_batches
from data_pipelines.reading import open_source
from data_pipelines.samples.decode import decode_mask
from data_pipelines.verify import verify


@pytest.fixture
def realhm(tmp_path: Path) -> Path:
    root = tmp_path / "RealHM"
    for i, name in enumerate(("Real_2", "Real_10")):
        for k, role in enumerate(("bg", "composite", "real" if i else "gt")):
            write_image(root / f"{name}_{role}.jpg", random_image(seed=3 * i + k))
        write_image(root / f"{name}_mask.jpg", box_mask())
    return root


def test_realhm_is_a_test_split_with_plates_and_binary_masks(realhm, tmp_path):
    info = build("realhm", manual_dir=tmp_path, data_dir=tmp_path / "data")
    assert info.splits == {"test": 2}
    assert info.metadata["warnings"] == {"count_mismatch": 1, "unusual_mask": 2}  # JPEG masks
    assert "whole set" in info.metadata["held_out"]
    source = open_source("realhm", tmp_path / "data", "test")
    assert [source[i]["composite_id"] for i in (0, 1)] == ["Real_10", "Real_2"]
    record = source[1]
    for key, name in (("background", "bg"), ("composite", "composite"), ("real", "gt")):
        assert record[key] == (realhm / f"Real_2_{name}.jpg").read_bytes()
    assert record["mask_is_binary"]
    np.testing.assert_array_equal(decode_mask(record), box_mask())  # in spite of the JPEG
    assert verify("realhm", tmp_path / "data") == []
    with eval_batches("realhm", data_dir=tmp_path / "data", image_size=32) as batches:
        assert next(batches).background.shape == (16, 32, 32, 3)


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("bg", "missing_background"),
        ("composite", "missing_composite"),
        ("mask", "missing_mask"),
        ("gt", "missing_real"),
    ],
)
def test_realhm_names_what_is_missing(realhm, tmp_path, role, kind):
    (realhm / f"Real_2_{role}.jpg").unlink()
    with pytest.raises(DatasetValidationError, match=f"{kind}.*Real_2_"):
        build("realhm", manual_dir=realhm, data_dir=tmp_path / "data")


def test_realhm_refuses_other_names_and_an_empty_folder(realhm, tmp_path):
    write_image(realhm / "cover.jpg", random_image())
    with pytest.raises(DatasetValidationError, match=r"bad_file_name.*cover\.jpg is not <id>_"):
        build("realhm", manual_dir=realhm, data_dir=tmp_path / "data")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetValidationError, match=r"missing_root.*<id>_bg\.jpg"):
        build("realhm", manual_dir=tmp_path / "empty", data_dir=tmp_path / "data")

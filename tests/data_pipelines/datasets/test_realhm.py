"""The builder of RealHM, and background plates in trees of other layouts."""

from pathlib import Path

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image, write_tree

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.export import export
from data_pipelines.in_place import open_folder
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
    assert info.metadata["warnings"] == {"count_mismatch": 1}
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
        assert next(batches)["background"].shape == (16, 32, 32, 3)


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


@pytest.fixture
def plated(tmp_path: Path) -> Path:
    """A tree in iHarmony4 layout with a plate for every mask."""
    root = write_tree(tmp_path / "toy", {"toy_train.txt": ["a_1_1.jpg", "a_1_2.jpg", "b_1_1.jpg"]})
    for name in ("a_1", "b_1"):
        write_image(root / f"bg/{name}.png", random_image(seed=50))
    return root


def test_plates_of_a_folder_become_backgrounds(plated, tmp_path):
    build("folder", manual_dir=plated, data_dir=tmp_path / "data")
    source = open_source("toy", tmp_path / "data")
    for records in (source, open_folder(plated, "train")):
        assert records[1]["background"] == (plated / "bg/a_1.png").read_bytes()
    assert verify("toy", tmp_path / "data") == []
    export("toy", data_dir=tmp_path / "data", split="train", count=3, out=tmp_path / "out")
    assert (tmp_path / "out/bg/b_1.png").read_bytes() == (plated / "bg/b_1.png").read_bytes()


def test_plates_of_photographs_become_backgrounds(plated, tmp_path):
    root = tmp_path / "pics"
    for i in range(2):
        write_image(root / f"images/p{i}.jpg", random_image(seed=i))
        write_image(root / f"masks/p{i}.png", box_mask())
        write_image(root / f"bg/p{i}.jpg", random_image(seed=9))
    (root / "pics_train.txt").write_text("p0\np1\n")
    build("photos", manual_dir=root, data_dir=tmp_path / "data")
    record = open_source("pics", tmp_path / "data")[0]
    assert record["background"] == (root / "bg/p0.jpg").read_bytes()


def test_a_plate_that_is_missing_is_named(plated, tmp_path):
    (plated / "bg/b_1.png").unlink()
    with pytest.raises(DatasetValidationError, match=r"missing_background.*b_1\.png"):
        build("folder", manual_dir=plated, data_dir=tmp_path / "data")


def test_plates_for_some_sub_datasets_only_are_refused(tmp_path):
    for subset, plates in (("HCOCO", True), ("HFlickr", False)):
        names = [f"{subset[1].lower()}1_1_1.jpg"]
        lists = {f"{subset}_{split}.txt": names for split in ("train",)}
        root = write_tree(tmp_path / "iHarmony4" / subset, lists)
        (root / f"{subset}_test.txt").write_text("")
        if plates:
            write_image(root / "bg/c1_1.png", random_image())
    for subset in ("HAdobe5k", "Hday2night"):
        root = write_tree(tmp_path / "iHarmony4" / subset, {f"{subset}_train.txt": ["x1_1_1.jpg"]})
        (root / f"{subset}_test.txt").write_text("")
    with pytest.raises(DatasetValidationError, match="has none, others have one"):
        build("iharmony4", manual_dir=tmp_path, data_dir=tmp_path / "data")
    info = build("iharmony4/hcoco", manual_dir=tmp_path, data_dir=tmp_path / "data")
    assert "background" in open_source(info.name, tmp_path / "data", next(iter(info.splits)))[0]
    info = build("iharmony4/hflickr", manual_dir=tmp_path, data_dir=tmp_path / "data")
    assert "background" not in open_source(info.name, tmp_path / "data", next(iter(info.splits)))[0]

"""The builder iharmony4: its splits, lists and configurations."""

import gzip
import shutil
import zlib
from pathlib import Path

import pytest
from support.fixtures_data import box_mask, random_image, write_image, write_tree

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from data_pipelines.datasets.iharmony4 import SUBSETS, Iharmony4, is_validation
from data_pipelines.reading import open_source
from data_pipelines.verify import verify
from jaxharm.errors import InputError


@pytest.fixture
def iharmony4(tmp_path: Path) -> Path:
    """A tree with one photograph on the validation side per training list."""
    held = next(f"p{i}" for i in range(1000) if zlib.crc32(f"p{i}".encode()) % 100 < 2)
    root = tmp_path / "iHarmony4"
    for subset in SUBSETS:
        folder = "HDay2night" if subset == "Hday2night" else subset
        lists = {
            f"{subset}_train.txt": [f"{held}_1_1.jpg", "kept_1_1.jpg", f"{held}_1_2.jpg"],
            f"{subset}_test.txt": [f"{subset[1].lower()}9_1_1.jpg"],
        }
        write_tree(root / folder, lists)
    return root


def scan_kinds(root: Path) -> tuple[str, ...]:
    with pytest.raises(DatasetValidationError) as error:
        Iharmony4(data_dir=root / "unused").checked_tree(root)
    return error.value.kinds


def test_iharmony4_divides_the_training_list_by_photograph(iharmony4, tmp_path):
    info = build("iharmony4", manual_dir=iharmony4.parent, data_dir=tmp_path / "data")
    assert info.name == "iharmony4/all"
    assert info.splits == {"train": 4, "validation": 8, "test": 4}
    assert info.metadata["warnings"]["count_mismatch"] == 8
    train, held = (open_source("iharmony4", tmp_path / "data", s) for s in ("train", "validation"))
    assert [train[i]["subset"] for i in range(4)] == list(SUBSETS)
    assert all(is_validation(held[i]["real_id"]) for i in range(8))
    assert not is_validation("kept")


def test_iharmony4_parts_and_sizes_are_configurations(iharmony4, tmp_path):
    small = build("iharmony4/hflickr", manual_dir=iharmony4, data_dir=tmp_path, max_side=16)
    assert small.name == "iharmony4/hflickr_16"
    assert open_source(small.name, tmp_path, "test")[0]["width"] == 16
    with pytest.raises(MissingDatasetError, match=r"iharmony4/hflickr_16.*build iharmony4/all"):
        open_source("iharmony4", tmp_path, "test")
    named = build(small.name, manual_dir=iharmony4, data_dir=tmp_path)
    assert named.metadata["signature"] == small.metadata["signature"]
    config = Iharmony4(config="hcoco_1024", data_dir=tmp_path)
    assert config.builder_config.max_side == 1024


def test_ihd_lists_are_read_where_others_are_absent_and_must_agree(iharmony4):
    lines = []
    for folder in sorted(path for path in iharmony4.iterdir() if path.is_dir()):
        (own,) = folder.glob("*_test.txt")
        lines += [f"{folder.name}/composite_images/{name}" for name in own.read_text().split()]
        if folder.name != "HCOCO":
            own.unlink()
    common = iharmony4 / "IHD_test.txt"
    common.write_text("\n".join(lines))
    tree = Iharmony4(data_dir=iharmony4 / "unused").checked_tree(iharmony4)
    assert len(tree.splits["test"]) == 4
    common.write_text(
        "\n".join(lines).replace("HCOCO/composite_images/c9_", "HCOCO/composite_images/c8_")
    )
    with pytest.raises(DatasetValidationError, match="differ in 2 names: c8_1_1, c9_1_1"):
        Iharmony4(data_dir=iharmony4 / "unused").checked_tree(iharmony4)
    common.write_text("\n".join([*lines, "masks/x_1_1.jpg"]))
    assert scan_kinds(iharmony4) == ("path_traversal",)
    common.unlink()
    assert scan_kinds(iharmony4) == ("missing_list",)


def test_an_incomplete_iharmony4_names_the_folders(iharmony4):
    shutil.rmtree(iharmony4 / "HFlickr")
    assert scan_kinds(iharmony4) == ("missing_root",)


def test_the_index_shows_differences_in_size_and_mask_area(iharmony4, tmp_path):
    build("iharmony4/hcoco", manual_dir=iharmony4, data_dir=tmp_path)
    area = (box_mask() > 0).sum()
    index = tmp_path / "index.csv.gz"

    def with_rows(*rows: str) -> list[str]:
        text = "subset,composite,height,width,mask_area\n" + "\n".join(rows)
        index.write_bytes(gzip.compress(text.encode()))
        return verify("iharmony4/hcoco", tmp_path, index=index)

    assert with_rows(f"HCOCO,c9_1_1.jpg,40,48,{area * 1.004}", "HFlickr,f1_1_1.jpg,9,9,3") == []
    assert "mask covers" in with_rows(f"HCOCO,c9_1_1.jpg,40,48,{area * 1.006}")[0]
    assert "in the index 50x40" in with_rows(f"HCOCO,c9_1_1.jpg,40,50,{area}")[0]
    problems = with_rows(f"HCOCO,c8_1_1.jpg,40,48,{area}")
    assert ["not in the test split" in problems[0], "not in the index" in problems[1]] == [True] * 2
    index.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="Not a gzipped file"):
        verify("iharmony4/hcoco", tmp_path, index=index)
    index.write_bytes(gzip.compress(b"subset,composite\n"))
    with pytest.raises(InputError, match="lacks the columns height, width, mask_area"):
        verify("iharmony4/hcoco", tmp_path, index=index)


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

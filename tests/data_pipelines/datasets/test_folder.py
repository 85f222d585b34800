"""The builders folder and photos: what is found, in which order, what stops a build."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image, write_tree
from support.trees import LISTS, stems

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.export import export
from data_pipelines.in_place import open_folder
from data_pipelines.reading import list_built, open_source
from data_pipelines.verify import verify


def test_folder_gives_the_records_in_list_order(toy, tmp_path):
    info = build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    assert (info.name, info.kind, info.splits) == ("toy", "paired", {"train": 4, "test": 1})
    source = open_source("toy", tmp_path / "data", "train")
    assert [source[i]["composite_id"] for i in range(4)] == stems(LISTS["toy_train.txt"])
    assert source[-1]["real_id"] == "a_x"
    with pytest.raises(IndexError):
        source[4]
    for key, folder in (("composite", "composite_images/z_1_1.jpg"), ("mask", "masks/z_1.png")):
        assert source[0][key] == (toy / folder).read_bytes()
    both = open_source("toy", tmp_path / "data", "train+test")
    assert [both[i]["composite_id"] for i in (3, 4)] == ["a_x_1_10", "t_1_1"]
    assert list_built(tmp_path / "data") == ["toy"]
    assert verify("toy", tmp_path / "data") == []


def test_the_parent_folder_and_another_name_do_as_well(toy, tmp_path):
    first = build("folder", manual_dir=toy, data_dir=tmp_path / "a")
    second = build("folder", manual_dir=toy.parent, data_dir=tmp_path / "a", name="toy")
    other = build("folder", manual_dir=toy, data_dir=tmp_path / "a", name="other")
    assert first.fingerprint == second.fingerprint
    assert other.splits == first.splits
    assert list_built(tmp_path / "a") == ["other", "toy"]


def test_records_do_not_depend_on_the_order_of_the_directory(toy, tmp_path):
    copy = tmp_path / "copy" / "toy"
    for folder in ("real_images", "masks", "composite_images"):
        (copy / folder).mkdir(parents=True)
        for path in sorted((toy / folder).iterdir(), reverse=True):
            shutil.copy(path, copy / folder)
    for name in LISTS:
        shutil.copy(toy / name, copy)
    prints = [
        build("folder", manual_dir=root, data_dir=tmp_path / f"data{i}").fingerprint
        for i, root in enumerate((toy, copy))
    ]
    assert prints[0] == prints[1]


def test_photos_have_no_composite(tmp_path):
    tree = tmp_path / "pics"
    for i, name in enumerate(("b", "a", "c")):
        write_image(tree / "images" / f"{name}.jpg", random_image(seed=i))
        write_image(tree / "masks" / f"{name}.png", box_mask())
    (tree / "pics_train.txt").write_text("b\na.jpg\n")
    (tree / "pics_val.txt").write_text("c\n")
    info = build("photos", manual_dir=tree, data_dir=tmp_path / "data")
    assert (info.kind, info.splits) == ("photos", {"train": 2, "val": 1})
    record = open_source("pics", tmp_path / "data", "train")[1]
    assert "composite" not in record
    assert record["photo_id"] == "a"
    assert record["real"] == (tree / "images/a.jpg").read_bytes()
    assert verify("pics", tmp_path / "data") == []


def test_one_photograph_may_have_several_masks(tmp_path):
    """The same records as with a copy of the photograph for each mask."""
    shared, copied = tmp_path / "shared" / "pics", tmp_path / "copied" / "pics"
    ids = ["my_photo_0", "my_photo_12", "single", "other_1"]
    for i, name in enumerate(ids):
        for tree in (shared, copied):
            write_image(tree / f"masks/{name}.png", np.roll(box_mask(), i, axis=0))
            (tree / "pics_train.txt").write_text("\n".join(ids))
        photo = name if name in ("single", "other_1") else "my_photo"
        image = random_image(seed=len(photo))
        write_image(copied / f"images/{name}.png", image)
        write_image(shared / f"photographs/{photo}.png", image)
    # A photograph of the mask's very name comes before the shared one, which then belongs to no id.
    write_image(shared / "photographs/other.png", random_image(seed=9))
    found = [
        build("photos", manual_dir=tree, data_dir=tree.parent / "data") for tree in (shared, copied)
    ]
    assert found[0].splits == {"train": 4}
    assert found[0].fingerprint == found[1].fingerprint
    assert [info.metadata["warnings"] for info in found] == [{"orphan_file": 1}, {}]
    source = open_source("pics", tmp_path / "shared/data")
    assert [record["photo_id"] for record in source] == ids
    (shared / "photographs/my_photo.png").unlink()
    with pytest.raises(DatasetValidationError, match=r"missing_real.*my_photo_0\.jpg"):
        build("photos", manual_dir=shared, data_dir=tmp_path / "again")


def test_real_photographs(shared, tmp_path):
    tree = tmp_path / "minibsds"
    for split, count in (("train", 6), ("val", 3)):
        names = (shared / f"data/minibsds/minibsds_{split}.txt").read_text().split()[:count]
        tree.mkdir(exist_ok=True)
        (tree / f"minibsds_{split}.txt").write_text("\n".join(names))
        for name in names:
            real, fg, _ = name[:-4].rsplit("_", 2)
            for file in (
                f"composite_images/{name}",
                f"masks/{real}_{fg}.png",
                f"real_images/{real}.jpg",
            ):
                (tree / file).parent.mkdir(exist_ok=True)
                shutil.copy(shared / "data/minibsds" / file, tree / file)
    info = build("folder", manual_dir=tree, data_dir=tmp_path / "data")
    assert info.splits == {"train": 6, "val": 3}
    assert info.metadata["warnings"] == {}
    assert verify("minibsds", tmp_path / "data") == []


def test_the_authentic_sample_with_its_rgb_mask(shared, tmp_path):
    info = build("folder", manual_dir=shared / "data/ihd_example", data_dir=tmp_path)
    record = open_source("ihd_example", tmp_path, "test")[0]
    assert info.splits == {"test": 1}
    assert (record["height"], record["width"], record["mask_is_binary"]) == (1024, 683, True)
    assert record["fg_ratio"] == pytest.approx(0.667, abs=5e-4)


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

"""The builders folder, photos and iharmony4: what is found, in which order, what stops a build."""

import gzip
import pickle
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image, write_tree

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from data_pipelines.building.report import Report
from data_pipelines.datasets.iharmony4 import SUBSETS, Iharmony4, is_validation
from data_pipelines.in_place import open_folder
from data_pipelines.reading import dataset_info, list_built, open_source
from data_pipelines.verify import verify

LISTS = {
    "toy_train.txt": ["z_1_1.jpg", "b_2_1.jpg", "z_1_2.jpg", "a_x_1_10.jpg"],
    "toy_test.txt": ["t_1_1.jpg"],
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "toy", LISTS)


def kinds_of(root: Path, **options) -> tuple[str, ...]:
    with pytest.raises(DatasetValidationError) as error:
        open_folder(root, "train", **options)
    return error.value.kinds


def stems(names: list[str]) -> list[str]:
    return [name.rsplit(".", 1)[0] for name in names]


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


def test_a_source_can_be_sent_to_a_worker_process(toy, tmp_path):
    build("folder", manual_dir=toy, data_dir=tmp_path)
    source = open_source("toy", tmp_path, "train")
    assert len(source) == 4
    copy = pickle.loads(pickle.dumps(source))
    assert copy[2] == source[2]


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


def test_the_reader_of_plain_folders_gives_the_same_records(toy, tmp_path):
    build("folder", manual_dir=toy, data_dir=tmp_path)
    built, plain = open_source("toy", tmp_path, "train"), open_folder(toy, "train")
    assert len(built) == len(plain)
    for i in range(len(plain)):
        left, right = built[i], plain[i]
        assert left.pop("fg_ratio") == pytest.approx(right.pop("fg_ratio"))
        assert left == right


@pytest.mark.parametrize(
    ("folder", "name", "kind"),
    [
        ("composite_images", "b_2_1.jpg", "missing_composite"),
        ("masks", "b_2.png", "missing_mask"),
        ("real_images", "b.jpg", "missing_real"),
    ],
)
def test_missing_files_stop_or_are_left_out(toy, tmp_path, folder, name, kind):
    (toy / folder / name).unlink()
    assert kinds_of(toy) == (kind,)
    info = build("folder", manual_dir=toy, data_dir=tmp_path, on_error="skip")
    assert info.splits == {"train": 3, "test": 1}
    assert info.metadata["skipped"] == {kind: 1}


def test_other_letter_case_and_endings_are_found(toy):
    (toy / "real_images/b.jpg").rename(toy / "real_images/B.JPG")
    (toy / "composite_images/z_1_1.jpg").unlink()
    write_image(toy / "composite_images/z_1_1.png", random_image())
    (toy / "masks").rename(toy / "Masks")
    source = open_folder(toy, "train")
    assert [source[i]["composite_id"] for i in range(4)] == stems(LISTS["toy_train.txt"])


def test_links_out_of_the_tree_are_never_followed(toy, tmp_path):
    outside = tmp_path / "secret.jpg"
    (toy / "real_images/b.jpg").rename(outside)
    (toy / "real_images/b.jpg").symlink_to(outside)
    assert kinds_of(toy, on_error="skip") == ("path_traversal",)


def test_links_within_the_tree_are_fine(toy):
    (toy / "real_images/b.jpg").rename(toy / "b.jpg")
    (toy / "real_images/b.jpg").symlink_to("../b.jpg")
    assert len(open_folder(toy, "train")) == 4


def test_a_composite_in_two_splits_is_an_error_and_a_photograph_a_warning(tmp_path, caplog):
    tree = write_tree(
        tmp_path / "toy", {"toy_train.txt": ["a_1_1.jpg"], "toy_val.txt": ["a_1_2.jpg"]}
    )
    open_folder(tree, "train")
    assert "photograph toy/a in train and val" in caplog.text
    write_tree(tree, {"toy_val.txt": ["a_1_1.jpg"]})
    assert kinds_of(tree, on_error="skip") == ("split_overlap",)


def test_orphans_are_warned_of(toy, tmp_path):
    write_image(toy / "masks/nobody_1.png", box_mask())
    info = build("folder", manual_dir=toy, data_dir=tmp_path)
    assert info.metadata["warnings"] == {"orphan_file": 1}


def test_several_kinds_come_in_one_exception(toy):
    (toy / "masks/b_2.png").unlink()
    write_image(toy / "real_images/z.jpg", random_image(41, 48))
    (toy / "toy_test.txt").write_text("../t_1_1.jpg\nnot a name\n")
    assert set(kinds_of(toy)) == {
        *("missing_mask", "size_mismatch", "path_traversal", "bad_list_line"),
    }


def test_damage_that_only_a_full_decode_shows_stops_the_build_and_leaves_nothing(toy, tmp_path):
    path = toy / "composite_images/z_1_2.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetValidationError) as error:
        build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    assert error.value.kinds == ("unreadable_image",)
    assert list((tmp_path / "data").iterdir()) == []
    info = build("folder", manual_dir=toy, data_dir=tmp_path / "data", on_error="skip")
    assert info.splits == {"train": 3, "test": 1}
    assert info.metadata["skipped"] == {"unreadable_image": 1}


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
    with pytest.raises(DatasetValidationError, match="mask_area"):
        verify("iharmony4/hcoco", tmp_path, index=index)


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


def test_a_report_has_no_room_for_unknown_kinds():
    with pytest.raises(KeyError):
        Report("t").error("no such kind", np.str_("x"))

"""The builder of retouched pairs: both spellings, both directions, and what it refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image

from data_pipelines.build import build, main
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.reading import open_source
from data_pipelines.samples.decode import decode_mask, decode_record
from data_pipelines.verify import verify

IDS = ("zebra", "a_b")


def soft_box() -> np.ndarray:
    mask = box_mask()
    mask[9] = mask[:, 11] = 64
    return mask


def write_photo(root: Path, name: str, suffix: str = "_mask") -> None:
    """One photograph in both editions, with masks and plates."""
    for i, edition in enumerate(("before", "after")):
        seed = sum(map(ord, name)) + i
        write_image(root / f"real_images/{name}_{edition}.png", random_image(seed=seed))
        write_image(root / f"masks/{name}_{edition}{suffix}.png", soft_box())
        write_image(root / f"bg/{name}_{edition}{suffix}.png", random_image(seed=99 - i))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in IDS:
        write_photo(tmp_path / "mine/train", name)
    write_photo(tmp_path / "mine/test", "t")
    return tmp_path / "mine"


def kinds(tree: Path, **options) -> tuple[str, ...]:
    with pytest.raises(DatasetValidationError) as error:
        build("artist_retouched", manual_dir=tree, data_dir=tree.parent / "data", **options)
    return error.value.kinds


def test_every_mask_is_an_item_whose_target_it_is_named_for(tree, tmp_path):
    info = build("artist_retouched", manual_dir=tree, data_dir=tmp_path / "data")
    assert info.splits == {"train": 4, "test": 2}
    assert info.metadata["warnings"] == {}
    source = open_source("artist_retouched", tmp_path / "data", "train")
    records = [source[i] for i in range(4)]
    assert [r["composite_id"] for r in records] == [
        *("a_b_after", "a_b_before", "zebra_after", "zebra_before")
    ]
    assert [r["real_id"] for r in records] == ["a_b", "a_b", "zebra", "zebra"]
    files = {"real": "real_images/a_b_after", "composite": "real_images/a_b_before"}
    files |= {"mask": "masks/a_b_after_mask", "background": "bg/a_b_after_mask"}
    for key, name in files.items():
        assert records[0][key] == (tree / f"train/{name}.png").read_bytes(), key
    assert records[1]["real"] == records[0]["composite"]
    assert not records[0]["mask_is_binary"]
    assert set(decode_record(records[0])) == {"composite", "real", "mask", "background"}
    assert verify("artist_retouched", tmp_path / "data") == []


def test_the_suffix_may_be_missing_and_wins_where_both_are_there(tree, tmp_path):
    plain = tmp_path / "plain/train"
    for name in IDS:
        write_photo(plain, name, suffix="")
    write_image(plain / "masks/zebra_after_mask.png", box_mask()[::-1])
    info = build("artist_retouched", manual_dir=plain, data_dir=tmp_path / "data")  # train itself
    assert info.splits == {"train": 4}
    assert info.metadata["warnings"] == {"orphan_file": 1}
    source = open_source("artist_retouched", tmp_path / "data", "train")
    np.testing.assert_array_equal(decode_mask(source[2]), box_mask()[::-1])
    np.testing.assert_array_equal(decode_mask(source[3]), soft_box())


def test_after_only_keeps_one_direction(tree, tmp_path, capsys):
    arguments = ["artist_retouched/after_only", "--manual-dir", str(tree)]
    assert main([*arguments, "--data-dir", str(tmp_path / "data")]) == 0
    assert "artist_retouched/after_only: train 2, test 1 records" in capsys.readouterr().out
    source = open_source("artist_retouched/after_only", tmp_path / "data", "train")
    assert [source[i]["composite_id"] for i in range(2)] == ["a_b_after", "zebra_after"]
    assert main(["artist_retouched/before", *arguments[1:]]) == 2
    assert "no part 'before'; choose both, after_only" in capsys.readouterr().err


def test_smaller_copies_keep_soft_masks(tree, tmp_path):
    info = build("artist_retouched", manual_dir=tree, data_dir=tmp_path / "data", max_side=24)
    assert info.name == "artist_retouched/both_24"
    images = decode_record(open_source(info.name, tmp_path / "data", "train")[0])
    assert {image.shape[:2] for image in images.values()} == {(20, 24)}
    assert np.any((images["mask"] > 0) & (images["mask"] < 255))


@pytest.mark.parametrize(
    ("file", "found", "left"),
    [
        ("bg/zebra_after_mask.png", {"missing_background": 1}, 3),
        # The other direction lacks its input.
        ("real_images/zebra_after.png", {"missing_real": 1, "missing_composite": 1}, 2),
        ("masks/zebra_after_mask.png", None, 3),
    ],
)
def test_missing_files_stop_or_are_left_out(tree, tmp_path, file, found, left):
    (tree / "train" / file).unlink()
    if found:
        assert set(kinds(tree)) == set(found)
    info = build("artist_retouched", manual_dir=tree, data_dir=tmp_path, on_error="skip")
    assert info.splits["train"] == left
    assert info.metadata["skipped"] == (found or {})


def test_names_sizes_and_folders_are_checked(tree):
    shutil.copy(tree / "train/masks/zebra_after_mask.png", tree / "train/masks/zebra_mask.png")
    write_image(tree / "train/bg/a_b_before_mask.png", random_image(41, 48))
    write_image(tree / "test/masks/t_after_mask.png", np.zeros((40, 48), np.uint8))
    assert kinds(tree) == ("bad_file_name", "size_mismatch")
    options = {"data_dir": tree.parent / "data", "on_error": "skip"}
    info = build("artist_retouched", manual_dir=tree, **options)
    assert info.splits == {"train": 3, "test": 1}
    assert info.metadata["skipped"] == dict.fromkeys(
        ("bad_file_name", "size_mismatch", "empty_mask"), 1
    )
    assert info.metadata["warnings"] == {}
    shutil.rmtree(tree / "train/bg")
    assert "missing_root" in kinds(tree)
    shutil.rmtree(tree / "train")
    shutil.rmtree(tree / "test")
    assert kinds(tree) == ("missing_root",)


def test_a_photograph_in_two_splits_is_an_error(tree):
    write_photo(tree / "test", "zebra")
    assert kinds(tree) == ("split_overlap",)


def test_the_official_sample_is_read(shared, tmp_path):
    sample = shared / "data/official_samples/pih_artist_retouched"
    info = build("artist_retouched", manual_dir=sample, data_dir=tmp_path)
    assert info.splits == {"train": 2}
    record = open_source("artist_retouched", tmp_path, "train")[1]
    assert record["composite_id"].endswith("_before")
    assert (record["height"], record["width"], record["mask_is_binary"]) == (512, 512, False)
    assert record["fg_ratio"] == pytest.approx(0.119, abs=0.002)

"""The builder ccharmony: both kinds of list, both layouts of composites, what stops a build."""

from pathlib import Path

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.report import Report
from data_pipelines.datasets.ccharmony import expand, read_names
from data_pipelines.reading import open_source
from data_pipelines.verify import verify

TRAIN, TEST = ("Canon1DsMkIII_0016_a", "8D5U5531_b"), ("IMG_0281_a",)


@pytest.fixture
def manual_dir(tmp_path: Path) -> Path:
    root = tmp_path / "ccHarmony"
    for seed, foreground in enumerate((*TRAIN, *TEST)):
        real, mask = random_image(20, 24, seed=seed), box_mask(20, 24)
        write_image(root / f"real_images/{foreground[:-2]}.jpg", real)
        write_image(root / f"masks/{foreground}.png", np.repeat(mask[..., None], 3, 2))
        for k in range(1, 11):
            changed = np.where(mask[..., None] > 0, real // 2 + k, real)
            write_image(root / f"composite_images/{foreground}_{k}.jpg", changed)
    write_list(root / "train_list.txt", TRAIN)
    write_list(root / "test_list.txt", TEST)
    return tmp_path


def write_list(path: Path, lines) -> None:
    path.write_text("".join(f"{line}\r\n" for line in lines))


def built(manual_dir: Path, **options):
    return build("ccharmony", manual_dir=manual_dir, data_dir=manual_dir / "data", **options)


def kinds(manual_dir: Path, **options) -> tuple[str, ...]:
    with pytest.raises(DatasetValidationError) as error:
        built(manual_dir, **options)
    return error.value.kinds


def test_a_foreground_stands_for_its_ten_composites(manual_dir):
    info = built(manual_dir)
    assert info.splits == {"train": 20, "test": 10}
    record = open_source("ccharmony", manual_dir / "data", "train")[9]
    assert record["composite_id"] == "Canon1DsMkIII_0016_a_10"
    assert record["mask_id"] == "Canon1DsMkIII_0016_a"
    assert record["real_id"] == "Canon1DsMkIII_0016"
    assert record["mask_is_binary"]
    assert verify("ccharmony", manual_dir / "data") == []


def test_other_spellings_of_folders_and_lists_give_the_same_records(manual_dir):
    fingerprint = built(manual_dir).fingerprint
    root = manual_dir / "ccHarmony"
    for path in list((root / "composite_images").iterdir()):
        inner = root / "composite_images" / path.stem.rsplit("_", 1)[0]
        inner.mkdir(exist_ok=True)
        path.rename(inner / path.name)
    (root / "composite_images").rename(root / "comp")
    (root / "masks").rename(root / "foreground_masks")
    (root / "real_images").rename(root / "real")
    for split, foregrounds in (("train", TRAIN), ("test", TEST)):
        (root / f"{split}_list.txt").unlink()
        names = [f"{name}_{k}.jpg" for name in foregrounds for k in range(1, 11)]
        write_list(root / f"ccHarmony_{split}.txt", names)
    assert built(manual_dir).fingerprint == fingerprint


def test_the_published_lists_have_the_published_counts(shared):
    report = Report("lists")
    names = {
        split: read_names(shared / f"data/ccharmony/{split}_list.txt", report)
        for split in ("train", "test")
    }
    report.raise_errors()
    assert {split: len(found) for split, found in names.items()} == {"train": 3080, "test": 1180}
    images = [{name.real_id for name in found} for found in names.values()]
    assert [len(found) for found in images] == [250, 100]
    assert not images[0] & images[1]


def test_ids_are_split_from_the_right():
    first = expand("Canon1DsMkIII_0016_a")[0]
    assert (first.file, first.real_id) == ("Canon1DsMkIII_0016_a_1.jpg", "Canon1DsMkIII_0016")
    assert expand("Canon1DsMkIII") == [None]


@pytest.mark.parametrize(
    ("lost", "kind", "left"),
    [
        ("composite_images/8D5U5531_b_7.jpg", "missing_composite", 19),
        ("masks/8D5U5531_b.png", "missing_mask", 10),
        ("real_images/8D5U5531.jpg", "missing_real", 10),
    ],
)
def test_listed_ids_without_files_stop_or_are_left_out(manual_dir, lost, kind, left):
    (manual_dir / "ccHarmony" / lost).unlink()
    assert kinds(manual_dir) == (kind,)
    assert built(manual_dir, on_error="skip").splits["train"] == left


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda root: (root / "test_list.txt").unlink(), "missing_list"),
        (lambda root: (root / "masks").rename(root / "alpha"), "missing_root"),
        (lambda root: write_list(root / "test_list.txt", ["IMG"]), "bad_list_line"),
        (
            lambda root: write_list(root / "test_list.txt", ["IMG_0281_a_1.jpg"] * 2),
            "duplicate_entry",
        ),
        (lambda root: write_list(root / "test_list.txt", ["../x_a"]), "path_traversal"),
        (lambda root: write_list(root / "test_list.txt", TRAIN), "split_overlap"),
        (lambda root: write_list(root / "ccHarmony_test.txt", TRAIN[:1]), "list_disagreement"),
        (
            lambda root: write_image(root / "masks/IMG_0281_a.png", box_mask(10, 12)),
            "size_mismatch",
        ),
    ],
)
def test_what_is_wrong_is_named(manual_dir, change, kind):
    change(manual_dir / "ccHarmony")
    assert kind in kinds(manual_dir)

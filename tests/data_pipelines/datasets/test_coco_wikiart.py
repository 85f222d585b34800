"""The builder of objects and paintings: annotations, lists, what is refused, reading back."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.coco_annotations import annotation, box, compressed, runs
from support.fixtures_data import random_image, write_image

from data_pipelines import build as build_command
from data_pipelines import verify as verify_command
from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.report import Report
from data_pipelines.datasets.coco import read_annotations
from data_pipelines.loader import describe_sources, eval_batches, steps_per_epoch, train_batches
from data_pipelines.reading import open_source
from data_pipelines.samples.decode import decode_mask
from data_pipelines.verify import verify
from jaxharm.config import AugmentConfig, DataConfig, PaintingsConfig

SIZE = (40, 50)  # of photographs: 2000 pixels, so that objects have 100 to 600
PAINTINGS = {
    "train": ["Cubism/a,_b.jpg", "Pop_Art/élan_vital..jpg", "Cubism/c.jpg"],
    "val": ["Pop_Art/d.jpg", "Cubism/e.jpg"],
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two training photographs with objects, one without, one for testing; five paintings."""
    root = tmp_path / "downloads"
    ellipse = np.zeros(SIZE, np.uint8)
    cv2.ellipse(ellipse, (20, 20), (12, 9), 30, 0, 360, 1, -1)
    code = {"size": list(SIZE), "counts": compressed(runs(ellipse))}
    plain = {"size": list(SIZE), "counts": runs(ellipse)}
    annotations = {
        "train": [
            annotation(9, box(0, 0, 10, 9), 90.0),  # 4.5 %
            annotation(9, box(0, 20, 20, 10), 200.0),
            annotation(9, box(30, 5, 10, 10), 100.0),  # 5 %
            annotation(9, box(0, 0, 25, 25), 625.0),  # 31 %
            annotation(9, plain, 300.0, iscrowd=1),
            annotation(25, code, None),  # its area is counted
            annotation(30, box(0, 0, 5, 5), 25.0),
        ],
        "val": [annotation(42, plain, float(ellipse.sum()))],
    }
    for split, entries in annotations.items():
        ids = sorted({entry["image_id"] for entry in entries})
        images = []
        for number in ids:
            name = f"COCO_{split}2014_{number:012d}.jpg"
            write_image(root / f"MS-COCO/{split}2014/{name}", random_image(*SIZE, seed=number))
            images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        path = root / f"MS-COCO/annotations/instances_{split}2014.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"images": images[::-1], "annotations": entries}))
        rows = "".join(f"{name},{i}\n" for i, name in enumerate(PAINTINGS[split]))
        (root / "wikiart/WikiArt_Split").mkdir(parents=True, exist_ok=True)
        (root / f"wikiart/WikiArt_Split/style_{split}.csv").write_text(rows)
        for i, name in enumerate(PAINTINGS[split]):
            write_image(root / "wikiart" / name, random_image(30 + i, 45, seed=i))
    return root


def made(tree: Path, **options):
    return build("coco_wikiart", manual_dir=tree, data_dir=tree.parent / "data", **options)


def levels_of(record) -> np.ndarray:
    return decode_mask(record, "mask_levels")


def test_instances_of_the_area_band_become_gray_levels(tree):
    info = made(tree)
    assert info.splits == {"train": 2, "train_paintings": 3, "test": 1, "test_paintings": 2}
    assert info.kind == "painterly"
    assert info.metadata["warnings"] == {"count_mismatch": 2}
    data = tree.parent / "data"
    source = open_source("coco_wikiart", data)
    names = [record["photo_id"] for record in source]
    assert names == ["COCO_train2014_000000000025", "COCO_train2014_000000000009"]  # file order
    record = source[1]
    path = tree / "MS-COCO/train2014/COCO_train2014_000000000009.jpg"
    assert record["content"] == path.read_bytes()
    assert (record["subset"], record["levels"], record["height"]) == ("coco", 2, 40)
    assert "style" not in record
    expected = np.zeros(SIZE, np.uint8)
    expected[20:30, 0:20], expected[5:15, 30:40] = 1, 2
    np.testing.assert_array_equal(levels_of(record), expected)
    assert record["fg_ratio"] == pytest.approx(0.15)
    painting = open_source("coco_wikiart", data, "train_paintings")[1]
    assert painting["photo_id"] == "Pop_Art/élan_vital."
    assert painting["style"] == (tree / "wikiart/Pop_Art/élan_vital..jpg").read_bytes()
    assert not {"content", "mask_levels"} & set(painting)
    assert verify("coco_wikiart", data) == []


def test_both_run_length_codes_give_the_same_mask(tree):
    made(tree)
    train, test = (open_source("coco_wikiart", tree.parent / "data", s) for s in ("train", "test"))
    masks = [levels_of(train[0]), levels_of(test[0])]
    assert masks[0].any()
    np.testing.assert_array_equal(*(mask > 0 for mask in masks))


def test_prepared_masks_are_taken_with_their_own_levels(tree):
    for name, values in (("train2014_000000000009", (7, 255)), ("val2014_000000000042", (3,))):
        levels = np.zeros(SIZE, np.uint8)
        for i, value in enumerate(values):
            levels[10 * i : 10 * i + 8, 5:30] = value
        write_image(tree / f"MS-COCO/SegmentationClass_select/COCO_{name}.png", levels)
    info = made(tree)
    assert info.splits["train"] == 1
    record = open_source("coco_wikiart", tree.parent / "data")[0]
    assert record["levels"] == 2
    assert set(np.unique(levels_of(record))) == {0, 7, 255}


def test_stored_sides_are_limited(tree):
    made(tree, max_side=25)
    record = open_source("coco_wikiart", tree.parent / "data")[1]
    assert (record["height"], record["width"], record["levels"]) == (20, 25, 2)
    assert set(np.unique(levels_of(record))) == {0, 1, 2}
    assert verify("coco_wikiart", tree.parent / "data") == []


def test_a_list_in_latin_1_is_read_with_a_warning(tree, caplog):
    path = tree / "wikiart/WikiArt_Split/style_train.csv"
    path.write_bytes(path.read_bytes().decode().encode("latin-1"))
    assert made(tree).splits["train_paintings"] == 3
    assert "Latin-1" in caplog.text


def test_building_again_notices_other_annotations(tree):
    first = made(tree)
    assert made(tree).path.stat().st_mtime_ns == first.path.stat().st_mtime_ns
    path = tree / "MS-COCO/annotations/instances_train2014.json"
    content = json.loads(path.read_text())
    del content["annotations"][2]
    path.write_text(json.dumps(content))
    assert made(tree).fingerprint != first.fingerprint


def edit(name: str, change):
    def run(tree: Path) -> None:
        path = tree / f"MS-COCO/annotations/instances_{name}2014.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return run


def keep_small(content) -> None:
    content["annotations"] = [a for a in content["annotations"] if a.get("area", 999) < 95]


def add_line(text: str):
    def run(tree: Path) -> None:
        with (tree / "wikiart/WikiArt_Split/style_train.csv").open("a") as file:
            file.write(text + "\n")

    return run


@pytest.mark.parametrize(
    "change",
    [
        {"segmentation": None},
        {"segmentation": [[1, 2, 3, 4]]},
        {"segmentation": [1, 2, 3, 4, 5, 6]},
        {"segmentation": [[1, 2, 3, 4, 5, 6, "x"]]},
        {"segmentation": {"size": list(SIZE), "counts": [3, 4]}},
        {"segmentation": {"size": list(SIZE), "counts": "a\x00b"}},
        {"segmentation": {"size": list(SIZE)}},
        {"segmentation": {"size": None, "counts": [2000]}},
        {"segmentation": {}},
        {"image_id": [1]},
        {"image_id": {}},
        "no object",
        None,
        7,
    ],
    ids=repr,
)
def test_one_bad_annotation_is_left_out_and_counted(tree, change):
    def spoil(content):
        good = next(
            a for a in content["annotations"] if a["image_id"] == content["images"][0]["id"]
        )
        bad = {**good, **change} if isinstance(change, dict) else change
        content["annotations"].append(bad)

    before = read_annotations(tree / "MS-COCO/annotations/instances_train2014.json", Report(""))
    edit("train", spoil)(tree)
    report = Report("", on_error="skip")
    found = read_annotations(tree / "MS-COCO/annotations/instances_train2014.json", report)
    report.raise_errors()
    assert report.skipped == {"bad_annotations": 1}
    assert found == before


@pytest.mark.parametrize("prefix", ["train2014/", "train2014\\", "data/images/"])
def test_a_folder_before_the_file_name_is_left_out(tree, prefix):
    path = tree / "MS-COCO/annotations/instances_train2014.json"
    before = read_annotations(path, Report(""))

    def move(content):
        for image in content["images"]:
            image["file_name"] = prefix + image["file_name"]

    edit("train", move)(tree)
    assert read_annotations(path, Report("")) == before


def test_bad_entries_of_images_are_left_out_and_counted(tree):
    path = tree / "MS-COCO/annotations/instances_train2014.json"
    edit("train", lambda c: c["images"].extend([{"file_name": "x.jpg"}, None, "x"]))(tree)
    edit("train", lambda c: c["images"][0].update(height="tall"))(tree)
    report = Report("", on_error="skip")
    assert len(read_annotations(path, report)) == 2
    report.raise_errors()
    assert report.skipped["bad_annotations"] >= 3


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edit("train", keep_small), r"no_instances.*none of 2 annotations.*5% to 30%"),
        (edit("train", lambda c: c.pop("images")), r"bad_annotation_file.*KeyError"),
        (
            edit("val", lambda c: c["annotations"][0].update(image_id=1)),
            "bad_annotations.*annotation without id",
        ),
        (
            edit("val", lambda c: c["annotations"][0].update(segmentation=[[1, 2]], id=77)),
            "bad_annotations.*annotation 77.*3 points",
        ),
        (
            edit("train", lambda c: c["images"][-1].update(file_name="../x.jpg")),
            "path_traversal.*image 9",
        ),
        (
            edit("train", lambda c: c["images"][-1].update(width=60)),
            r"size_mismatch.*image 50x40, annotated as 60x40",
        ),
        (
            lambda tree: (tree / "MS-COCO/annotations/instances_val2014.json").write_text("{"),
            "bad_annotation_file.*instances_val2014.json",
        ),
        (
            lambda tree: (tree / "MS-COCO/annotations/instances_val2014.json").unlink(),
            "missing_list.*instances_val2014.json",
        ),
        (
            lambda tree: (tree / "wikiart/WikiArt_Split/style_val.csv").unlink(),
            "missing_list.*style_val.csv",
        ),
        (
            lambda tree: (tree / "MS-COCO/val2014/COCO_val2014_000000000042.jpg").unlink(),
            "missing_real.*42.jpg",
        ),
        (add_line("Cubism/gone.jpg,3"), "missing_painting.*gone.jpg"),
        (add_line("Cubism/c.jpg,3"), "duplicate_entry.*Cubism/c"),
        (add_line("c.jpg"), "bad_list_line.*style_train.csv:4"),
        (add_line("Cubism/c.jpg,cubism"), "bad_list_line"),
        (add_line("../../secret.jpg,3"), "path_traversal"),
        (add_line("Pop_Art/d.jpg,3"), "split_overlap.*Pop_Art/d"),
        (
            lambda tree: (tree / "wikiart/Cubism/c.jpg").write_bytes(
                (tree / "wikiart/Cubism/c.jpg").read_bytes()[:400]
            ),
            "unreadable_image.*c.jpg",
        ),
    ],
)
def test_what_is_wrong_is_named(tree, damage, words, capsys):
    damage(tree)
    arguments = ["coco_wikiart", "--manual-dir", tree, "--data-dir", tree.parent / "data"]
    assert build_command.main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(words, error), error


def test_an_empty_folder_is_refused_and_a_split_may_be_absent(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetValidationError, match="missing_root"):
        made(tmp_path / "empty")
    for path in ("MS-COCO/val2014", "wikiart/WikiArt_Split/style_val.csv"):
        (tree / path).rename(tree.parent / Path(path).name)
    assert made(tree).splits == {"train": 2, "train_paintings": 3}


def test_the_commands_and_the_loader_work_on_it(tree, capsys):
    data = tree.parent / "data"
    arguments = ["coco_wikiart", "--manual-dir", str(tree), "--data-dir", str(data)]
    assert build_command.main(arguments) == 0
    assert verify_command.main(["coco_wikiart", "--data-dir", str(data)]) == 0
    assert "train 2, train_paintings 3, test 1, test_paintings 2 records" in capsys.readouterr().out
    config = DataConfig(
        name="coco_wikiart",
        data_dir=str(data),
        batch_size=2,
        image_size=32,
        image_resize="linear_aa",
        mask_resize="linear_aa",
        augment=AugmentConfig(flip=0.0),
        paintings=PaintingsConfig(name="coco_wikiart"),
    )
    assert steps_per_epoch(config) == 1
    assert list(describe_sources(config)) == ["coco_wikiart"]
    with train_batches(config, seed=0) as batches:
        assert next(batches).background.shape == (2, 32, 32, 3)
    options = {"image_size": 32, "image_resize": "linear_aa", "mask_resize": "linear_aa"}
    with eval_batches(
        "coco_wikiart", data_dir=data, batch_size=2, paintings="coco_wikiart", **options
    ) as batches:
        assert next(batches).subset.tolist() == ["wikiart"] * 2

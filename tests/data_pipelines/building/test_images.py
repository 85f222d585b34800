"""Checks on image files: readability, channels, sizes, orientation, the kinds of masks."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.fixtures_data import box_mask, random_image, write_image, write_tree

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.images import decode_mask, looks_inverted
from data_pipelines.building.records import Limits, RecordLoader
from data_pipelines.building.report import Report
from data_pipelines.in_place import open_folder

PHOTO, MASK, COMPOSITE = "real_images/p.jpg", "masks/p_1.png", "composite_images/p_1_1.jpg"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A sound tree of one item."""
    return write_tree(tmp_path / "toy", {"toy_test.txt": ["p_1_1.jpg"]})


def kinds_of(tree: Path) -> tuple[str, ...]:
    """The kinds of finding for the tree's only item."""
    with pytest.raises(DatasetValidationError) as error:
        open_folder(tree, "test")[0]
    return error.value.kinds


def save_pil(path: Path, image: Image.Image, **options) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if path.suffix == ".jpg" else "PNG", **options)
    path.write_bytes(buffer.getvalue())


def turned(path: Path, orientation: int) -> None:
    """Marks a JPEG with an EXIF orientation, its pixels unchanged."""
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = orientation
    save_pil(path, image, exif=exif, quality=100, subsampling=0)


def test_bytes_are_copied(tree):
    record = open_folder(tree, "test")[0]
    for key, path in (("real", PHOTO), ("mask", MASK), ("composite", COMPOSITE)):
        assert record[key] == (tree / path).read_bytes()
    assert (record["height"], record["width"], record["mask_is_binary"]) == (40, 48, True)
    assert record["fg_ratio"] == pytest.approx((box_mask() == 255).mean())
    ids = record["composite_id"], record["mask_id"], record["real_id"], record["subset"]
    assert ids == ("p_1_1", "p_1", "p", "toy")


@pytest.mark.parametrize("file", [PHOTO, MASK, COMPOSITE])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "other format"])
def test_unreadable_image(tree, file, damage):
    path = tree / file
    whole = path.read_bytes()
    other = cv2.imencode(".png" if path.suffix == ".jpg" else ".jpg", random_image())[1].tobytes()
    damaged = {"empty": b"", "text": b"no image", "truncated": whole[:-60], "other format": other}
    path.write_bytes(damaged[damage])
    assert kinds_of(tree) == ("unreadable_image",)


def test_bad_channels(tree):
    save_pil(tree / COMPOSITE, Image.fromarray(random_image()).convert("CMYK"))
    assert kinds_of(tree) == ("bad_channels",)
    (tree / COMPOSITE).unlink()
    write_image(tree / "composite_images/p_1_1.png", random_image().astype(np.uint16) * 257)
    assert kinds_of(tree) == ("bad_channels",)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_8_bit_kinds_of_photographs_become_rgb(tree, mode):
    (tree / PHOTO).unlink()
    image = Image.fromarray(random_image()).convert(mode)
    save_pil(tree / "real_images/p.png", image)
    stored = Image.open(io.BytesIO(open_folder(tree, "test")[0]["real"]))
    assert stored.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(stored), np.asarray(image.convert("RGB")))


def test_size_mismatch_names_the_three_sizes(tree):
    write_image(tree / PHOTO, random_image(40, 50))
    with pytest.raises(DatasetValidationError, match="composite 48x40, real 50x40, mask 48x40"):
        open_folder(tree, "test")


def test_orientation_of_both_photographs_turns_the_mask_too(tree):
    mask = cv2.imread(str(tree / MASK), cv2.IMREAD_GRAYSCALE)
    real = np.asarray(Image.open(tree / PHOTO)).astype(int)
    turned(tree / PHOTO, 6)
    turned(tree / COMPOSITE, 6)
    record = open_folder(tree, "test")[0]
    assert (record["height"], record["width"]) == (48, 40)
    stored = Image.open(io.BytesIO(record["real"]))
    assert stored.getexif().get(0x0112, 1) == 1
    np.testing.assert_array_equal(decode_mask(Path("m"), record["mask"]).pixels, np.rot90(mask, -1))
    assert np.abs(np.asarray(stored) - np.rot90(real, -1)).mean() < 3


def test_orientation_leaves_an_upright_mask_alone(tree):
    turned(tree / PHOTO, 6)
    turned(tree / COMPOSITE, 6)
    mask = box_mask(48, 40)
    write_image(tree / MASK, mask)
    record = open_folder(tree, "test")[0]
    np.testing.assert_array_equal(decode_mask(Path("m"), record["mask"]).pixels, mask)


def test_orientation_of_one_photograph_only_is_a_size_mismatch(tree):
    turned(tree / PHOTO, 6)
    assert kinds_of(tree) == ("size_mismatch",)


def test_empty_full_and_nonbinary_masks(tree):
    for mask, kind in (
        (np.full((40, 48), 127, np.uint8), "empty_mask"),
        (np.full((40, 48), 255, np.uint8), "full_mask"),
        (np.tile(np.linspace(0, 255, 48).astype(np.uint8), (40, 1)), "nonbinary_mask"),
    ):
        write_image(tree / MASK, mask)
        assert kinds_of(tree) == (kind,)


def test_a_slightly_soft_mask_is_kept_and_flagged(tree):
    mask = box_mask()
    mask[10, 12:24] = 100
    write_image(tree / MASK, mask)
    record = open_folder(tree, "test")[0]
    assert record["mask_is_binary"] is False
    assert record["mask"] == (tree / MASK).read_bytes()


def test_masks_of_all_kinds_become_one_8_bit_channel(tree):
    mask = box_mask()
    gray = Image.fromarray(mask)
    alpha = Image.merge("LA", (gray, Image.new("L", gray.size, 7)))
    kinds = {
        "1": gray.convert("1"),
        "RGB": gray.convert("RGB"),
        "RGBA": Image.merge("RGBA", (gray, gray, gray, Image.new("L", gray.size, 9))),
        "LA": alpha,
        "P": gray.convert("P"),
        "I;16": Image.fromarray(mask.astype(np.uint16) * 257),
    }
    for kind, image in kinds.items():
        save_pil(tree / MASK, image)
        record = open_folder(tree, "test")[0]
        stored = Image.open(io.BytesIO(record["mask"]))
        assert (kind, stored.mode) == (kind, "L")
        np.testing.assert_array_equal(np.asarray(stored), mask, err_msg=kind)


def test_a_mask_of_zeros_and_ones_is_scaled_with_one_warning(tree):
    write_image(tree / MASK, box_mask() // 255)
    report = Report("toy")
    item = open_folder(tree, "test")._items[0]
    loader = RecordLoader(report, Limits())
    masks = [loader.load(item)["mask"] for _ in range(2)]
    np.testing.assert_array_equal(decode_mask(Path("m"), masks[1]).pixels, box_mask())
    assert report.warnings == {"unusual_mask": 1}


def test_looks_inverted_where_only_the_outside_differs():
    real = random_image()
    composite = np.where(box_mask()[..., None] > 0, 255 - real, real)
    assert looks_inverted(composite, real, 255 - box_mask())
    assert not looks_inverted(composite, real, box_mask())


def test_inverted_mask_is_found_in_large_reduced_photographs(tmp_path):
    tree = write_tree(tmp_path / "big", {"big_test.txt": ["p_1_1.jpg"]}, size=(1500, 1501))
    item = open_folder(tree, "test")._items[0]
    report = Report("big")
    assert RecordLoader(report, Limits()).load(item) is not None
    assert report.warnings == {}
    write_image(tree / MASK, 255 - box_mask(1500, 1501))
    assert RecordLoader(report, Limits()).load(item) is not None
    assert report.warnings == {"inverted_mask": 1}


def test_too_large_is_found_in_the_header(tree):
    report = Report("toy", on_error="skip")
    item = open_folder(tree, "test")._items[0]
    assert RecordLoader(report, Limits(max_megapixels=0.001)).load(item) is None
    with pytest.raises(DatasetValidationError, match=r"48x40 pixels.*\n.*--max-megapixels"):
        report.raise_errors()


def test_max_side_scales_photographs_and_keeps_masks_binary(tree):
    record = open_folder(tree, "test", max_side=24)[0]
    assert (record["height"], record["width"]) == (20, 24)
    real = Image.open(io.BytesIO(record["real"]))
    assert (real.format, real.size) == ("JPEG", (24, 20))
    expected = Image.open(tree / PHOTO).resize((24, 20), Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(real, int) - np.asarray(expected, int)).mean() < 3
    mask = decode_mask(Path("m"), record["mask"]).pixels
    assert set(np.unique(mask)) == {0, 255}
    assert mask.shape == (20, 24)

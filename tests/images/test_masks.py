"""One set of rules for masks, whether they come from files, arrays or data sets."""

import numpy as np
import pytest
from PIL import Image

from jaxharm.errors import InputError
from jaxharm.images import read_mask, write_image
from jaxharm.images.masks import check_mask, to_bytes

MASK = np.eye(6, 5, dtype=np.float32)


def pixels(dtype, channels, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (37, 23, channels), dtype, endpoint=True)


@pytest.mark.parametrize(
    "mask",
    [
        MASK,
        MASK.astype(np.float64),
        MASK.astype(bool),
        MASK.astype(np.uint8),
        (255 * MASK).astype(np.uint8),
        (65535 * MASK).astype(np.uint16),
        MASK[..., None],
    ],
)
def test_every_kind_of_mask_means_the_same(mask):
    checked = check_mask(mask, (6, 5))
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, MASK)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (MASK * 0, "mask is empty"),
        (MASK[:, :4], "the mask is 4x6 pixels and the composite 5x6"),
        (MASK * 255, "spans 0 to 255, not 0 to 1"),
        (MASK * np.nan, "spans nan"),
        (MASK.astype(np.int64), "the mask is int64"),
        (np.dstack([MASK] * 3), r"shape \[6, 5, 3\]"),
    ],
)
def test_bad_masks_are_refused(mask, reason):
    with pytest.raises(InputError, match=reason):
        check_mask(mask, (6, 5))


def test_a_mask_of_everything_is_suspicious():
    with pytest.warns(UserWarning, match="is it inverted"):
        check_mask(np.ones((6, 5), bool), (6, 5))


def test_masks_come_from_gray_color_or_alpha(tmp_path):
    mask = pixels(np.uint8, 1)[..., 0]
    Image.fromarray(mask).save(tmp_path / "gray.png")
    write_image(tmp_path / "rgb.png", np.stack([mask] * 3, -1))
    rgba = pixels(np.uint8, 4)
    rgba[..., 3] = mask
    write_image(tmp_path / "alpha.png", rgba)
    opaque = np.dstack([mask, mask, mask, np.full_like(mask, 255)])
    write_image(tmp_path / "opaque.png", opaque)
    for name in ("gray", "rgb", "alpha", "opaque"):
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png"), mask)
    deep = pixels(np.uint16, 1)
    write_image(tmp_path / "deep.png", deep)
    np.testing.assert_array_equal(read_mask(tmp_path / "deep.png"), deep[..., 0])


def test_color_masks_give_their_luma(tmp_path):
    write_image(tmp_path / "red.png", np.full((3, 3, 3), (255, 0, 0), np.uint8))
    assert (read_mask(tmp_path / "red.png") == 76).all()


def test_masks_of_data_sets_come_to_8_bits():
    soft = np.array([[0, 60, 128, 255]], np.uint8)
    labels = (soft > 100).astype(np.uint8)
    np.testing.assert_array_equal(to_bytes(soft)[0], soft)
    np.testing.assert_array_equal(to_bytes(np.dstack([soft, labels, labels]))[0], soft)
    for deep in (soft.astype(np.uint16) * 257, soft.astype(np.int32) * 257):
        np.testing.assert_array_equal(to_bytes(deep)[0], soft)
    for binary, were_labels in (
        (labels, True),
        (labels.astype(np.uint16), True),
        (labels > 0, False),
    ):
        mask, found = to_bytes(binary)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, 255 * labels)
        assert found == were_labels

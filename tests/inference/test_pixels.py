"""What a call accepts, and the sentence for what it does not."""

import numpy as np
import pytest
from PIL import Image

from jaxharm.errors import InputError
from jaxharm.inference.pixels import check_inputs, check_mask, from_unit, shrink, to_unit

IMAGE = np.random.default_rng(0).integers(0, 255, (6, 5, 3), np.uint8)
MASK = np.eye(6, 5, dtype=np.float32)


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


@pytest.mark.parametrize(
    ("composite", "background", "reason"),
    [
        (IMAGE[..., 0], None, r"the composite has shape \[6, 5\]"),
        (IMAGE.astype(np.int32), None, "the composite is int32"),
        (IMAGE.astype(np.float32), None, "float images lie in"),
        (IMAGE[:0], None, "the composite has shape"),
        (IMAGE, IMAGE[:3], "the background is 5x3 pixels and the composite 5x6"),
    ],
)
def test_bad_images_are_refused(composite, background, reason):
    with pytest.raises(InputError, match=reason):
        check_inputs(composite, MASK, background)


def test_cut_out_is_pasted_by_its_alpha():
    alpha = np.uint8([[0, 255, 51]])
    cutout = np.dstack([np.full((1, 3, 3), 200, np.uint8), alpha])
    plate = np.full((1, 3, 3), 100, np.uint8)
    inputs = check_inputs(cutout, None, plate)
    np.testing.assert_array_equal(inputs.composite[..., 0], [[100, 200, 120]])
    np.testing.assert_allclose(inputs.mask, [[0, 1, 0.2]])
    assert inputs.alpha is None
    with pytest.raises(InputError, match="no mask given"):
        check_inputs(cutout, None, None)
    with pytest.raises(InputError, match="no mask given"):
        check_inputs(cutout[..., :3], None, plate)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_scaling_to_unit_and_back_is_exact(dtype):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (np.linspace(0, top, 256).astype(dtype)).reshape(16, 16, 1)
    back = from_unit(to_unit(image), dtype)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, image, rtol=1e-7)


def test_8_bit_images_shrink_as_pillow_does():
    image = np.random.default_rng(1).integers(0, 255, (40, 30, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((9, 11), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(shrink(image, (11, 9)), to_unit(expected))
    deep = shrink(image.astype(np.uint16) * 257, (11, 9))
    np.testing.assert_allclose(deep, to_unit(expected), atol=1.01 / 255)

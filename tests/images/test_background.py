"""The fill of backgrounds, computed without an accelerator."""

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image

from jaxharm.images.background import FILLS, fill_background


@pytest.mark.parametrize("fill", FILLS)
def test_only_the_foreground_changes_and_its_color_leaves_no_trace(fill):
    mask = box_mask()[..., None] / np.float32(255)
    image = random_image()
    other = np.where(mask > 0, np.uint8(255) - image, image)
    filled = fill_background(image, mask, fill)
    np.testing.assert_array_equal(filled, fill_background(other, mask, fill))
    np.testing.assert_array_equal(np.where(mask > 0, 0, filled), np.where(mask > 0, 0, image))


def test_mean_is_the_mean_of_the_background():
    mask = np.zeros((30, 30, 1), np.float32)
    mask[10:20, 10:20] = 1
    image = np.full((30, 30, 3), (10, 20, 30), np.uint8)
    image[10:20, 10:20] = 255
    assert np.all(fill_background(image, mask, "mean") == (10, 20, 30))


@pytest.mark.parametrize("fill", FILLS)
def test_a_mask_of_foreground_alone_gives_the_mean(fill):
    image = random_image(32, 32)
    filled = fill_background(image, np.ones((32, 32, 1), np.float32), fill)
    np.testing.assert_allclose(
        filled, np.broadcast_to(image.mean((0, 1)), image.shape), atol=0.51 + 0.5
    )

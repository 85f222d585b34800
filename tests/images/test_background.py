"""The fill of backgrounds: what PIH computes inside its graph, without an accelerator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image

from jaxharm.images.background import FILLS, fill_background
from jaxharm.papers.pih.plate import fill_plate as fill_plate_jax


def soft_mask(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    distance = np.hypot(rows - height / 2, columns - width / 3)
    return np.clip((height / 4 - distance) / 6 + 0.5, 0, 1).astype(np.float32)[..., None]


def test_the_system_fills_alike():
    image, mask = random_image(37, 53), soft_mask(37, 53)
    theirs = jax.jit(fill_plate_jax)(jnp.asarray(image[None]) / 255.0, jnp.asarray(mask[None]))[0]
    np.testing.assert_allclose(fill_background(image, mask), np.asarray(theirs) * 255, atol=0.51)


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

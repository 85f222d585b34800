"""The stand-in for a missing background plate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.fixtures_data import random_image

from jaxharm.images.background import fill_background
from jaxharm.papers.pih.plate import fill_plate

fill = jax.jit(fill_plate)


def scene(height=48, width=37, seed=0):
    """A smooth background, and an image with a red square and its mask over it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    background = np.stack([y / height, x / width, 0.3 + 0.2 * x / width], -1)[None]
    mask = np.zeros((1, height, width, 1), np.float32)
    mask[:, height // 4 : height // 2 + 4, width // 4 : width // 2 + 3] = 1
    composite = np.where(mask > 0, np.float32([1, 0, 0]), background)
    return composite.astype(np.float32), mask, background


def test_continues_the_surroundings():
    composite, mask, background = scene()
    plate = np.asarray(fill(composite, mask))
    np.testing.assert_array_equal(plate[mask[..., 0] == 0], composite[mask[..., 0] == 0])
    inside = mask[..., 0] == 1
    assert np.abs(plate - background)[inside].max() < 0.15
    assert np.abs(composite - background)[inside].mean() > 0.3


def test_nothing_of_a_soft_edged_foreground_shines_through():
    _, mask, background = scene()
    soft = np.asarray(jax.image.resize(mask, (1, 48 * 2, 37 * 2, 1), "linear"))
    soft = soft.reshape(1, 48, 2, 37, 2, 1).mean((2, 4))
    mixed = soft * np.float32([1, 0, 0]) + (1 - soft) * background
    plate = np.asarray(fill(mixed.astype(np.float32), soft))
    assert np.abs(plate - background).max() < 0.2


def test_no_foreground_changes_nothing():
    composite, mask, _ = scene()
    np.testing.assert_array_equal(fill(composite, np.zeros_like(mask)), composite)


def test_all_foreground_gives_the_mean():
    composite, mask, _ = scene()
    plate = np.asarray(fill(composite, np.ones_like(mask)))
    expected = np.broadcast_to(composite.mean((1, 2), keepdims=True), composite.shape)
    np.testing.assert_allclose(plate, expected, atol=2e-3)


def test_images_of_a_batch_do_not_meet():
    composite, mask, _ = scene()
    other = np.flip(composite, 2)
    both = fill(np.concatenate([composite, other]), np.concatenate([mask, np.flip(mask, 2)]))
    np.testing.assert_allclose(both[:1], fill(composite, mask), atol=1e-6)
    np.testing.assert_allclose(both[1:], fill(other, np.flip(mask, 2)), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (64, 64), (131, 111)])
def test_any_size_stays_in_range(size):
    rng = np.random.default_rng(1)
    composite = rng.random((2, *size, 3), np.float32)
    mask = (rng.random((2, *size, 1)) < 0.5).astype(np.float32)
    plate = np.asarray(fill(composite, mask))
    assert plate.shape == composite.shape
    assert plate.min() >= -1e-6
    assert plate.max() <= 1 + 1e-6
    assert jnp.isfinite(plate).all()


def soft_mask(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    distance = np.hypot(rows - height / 2, columns - width / 3)
    return np.clip((height / 4 - distance) / 6 + 0.5, 0, 1).astype(np.float32)[..., None]


def test_the_workers_that_load_no_jax_fill_alike():
    image, mask = random_image(37, 53), soft_mask(37, 53)
    plate = fill(jnp.asarray(image[None]) / 255.0, jnp.asarray(mask[None]))[0]
    np.testing.assert_allclose(fill_background(image, mask), np.asarray(plate) * 255, atol=0.51)

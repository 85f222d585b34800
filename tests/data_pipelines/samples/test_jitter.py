"""Brightness and contrast agree bit for bit with Pillow's."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data_pipelines.samples.jitter import adjust_brightness, adjust_contrast, draw_jitter


@pytest.mark.parametrize("factor", [0.0, 0.651, 0.8, 1.0, 1.07, 1.349])
def test_pillow_gives_the_same(factor):
    image = np.random.default_rng(1).integers(0, 256, (50, 61, 3), np.uint8)
    picture = Image.fromarray(image)
    for ours, theirs in (
        (adjust_brightness, ImageEnhance.Brightness),
        (adjust_contrast, ImageEnhance.Contrast),
    ):
        np.testing.assert_array_equal(ours(image, factor), theirs(picture).enhance(factor))


def test_draws_stay_in_range_and_take_both_orders():
    rng = np.random.default_rng(0)
    draws = [draw_jitter(rng, brightness=0.35, contrast=0.2) for _ in range(200)]
    for values, reach in (
        ([draw.brightness for draw in draws], 0.35),
        ([draw.contrast for draw in draws], 0.2),
    ):
        assert 1 - reach <= min(values) < 1 - 0.9 * reach
        assert 1 + 0.9 * reach < max(values) <= 1 + reach
    assert 0.3 < np.mean([draw.brightness_first for draw in draws]) < 0.7


def test_the_order_matters_and_is_kept():
    image = np.random.default_rng(2).integers(0, 256, (20, 20, 3), np.uint8)
    rng = np.random.default_rng(3)
    drawn = [draw_jitter(rng, brightness=0.35, contrast=0.2) for _ in range(20)]
    for jitter in drawn:
        bright = adjust_brightness(image, jitter.brightness)
        expected = adjust_contrast(bright, jitter.contrast)
        assert np.array_equal(jitter(image), expected) == jitter.brightness_first

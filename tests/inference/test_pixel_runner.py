"""Carrying a small image's change to full size, checked on changes that are known."""

import itertools

import numpy as np
import pytest

from jaxharm.inference.pixel_runner import fit_change
from jaxharm.inference.tiles import enlarge_rows, foreground_box, row_tiles


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
def test_tiles_of_an_enlarged_map_equal_the_whole(shape):
    small = np.random.default_rng(0).random(shape, np.float32)
    whole = enlarge_rows(small, (40, 33), slice(0, 40))
    parts = [enlarge_rows(small, (40, 33), slice(i, i + 7)) for i in range(0, 35, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole[:35])


def test_enlarging_interpolates_between_pixel_centers():
    ramp = np.arange(4, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    expected = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    np.testing.assert_allclose(enlarge_rows(ramp, (8, 4), slice(0, 8))[:, 1], expected, atol=1e-6)


def test_row_tiles_cover_the_rows_once():
    tiles = list(row_tiles(slice(3, 5000), 1000))
    assert tiles[0].start == 3
    assert tiles[-1].stop == 5000
    assert all(a.stop == b.start for a, b in itertools.pairwise(tiles))
    assert max((t.stop - t.start) * 1000 for t in tiles) <= 1 << 20


def test_foreground_box_holds_the_faintest_pixel():
    mask = np.zeros((9, 8), np.float32)
    mask[2, 3], mask[6, 5] = 1e-6, 1
    assert foreground_box(mask) == (slice(2, 7), slice(3, 6))


def test_an_affine_change_of_color_is_found_exactly_and_ignores_the_background():
    random = np.random.default_rng(0)
    image = random.random((48, 40, 3), np.float32)
    mask = np.zeros((48, 40, 1), np.float32)
    mask[10:30, 8:32] = 1
    change = np.where(mask > 0, -0.3 * image + 0.1, random.random((48, 40, 3), np.float32))
    gain, shift = fit_change(image, change.astype(np.float32), mask)
    found = (gain * image + shift)[10:30, 8:32]
    np.testing.assert_allclose(found, (-0.3 * image + 0.1)[10:30, 8:32], atol=5e-3)
    # The fit reaches beyond the edge, so that enlarging it draws nothing from the background.
    np.testing.assert_allclose(
        (gain * image + shift)[9, 8:32], (-0.3 * image + 0.1)[9, 8:32], atol=5e-3
    )
    assert np.abs(gain[40:, 36:]).max() < 1e-6
    assert np.abs(shift[40:, 36:]).max() < 1e-6


def test_a_flat_region_is_shifted():
    image = np.full((20, 20, 3), 0.5, np.float32)
    gain, shift = fit_change(image, image * 0 + 0.2, np.ones((20, 20, 1), np.float32))
    np.testing.assert_allclose(gain, 0, atol=1e-3)
    np.testing.assert_allclose(shift, 0.2, atol=1e-3)

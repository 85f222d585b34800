"""Placement and blend: rounding, shifts, and the cases that lack a foreground."""

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image

from data_pipelines.samples.placement import blend, bounding_box, move, place


def test_blend_is_the_rounded_mixture():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    mask = rng.integers(0, 256, (64, 64), np.uint8)
    weight = mask[..., None] / 255.0
    np.testing.assert_array_equal(blend(a, b, mask), np.rint(a * weight + b * (1 - weight)))


def test_a_foreground_is_fitted_into_the_box_and_keeps_its_soft_edge():
    mask = np.zeros((60, 60), np.uint8)
    mask[10:50, 20:40] = 100  # 40 high, 20 wide
    image = np.repeat(np.arange(60, dtype=np.uint8)[:, None, None], 60, 1).repeat(3, 2)
    goal = np.zeros((60, 60), np.uint8)
    goal[4:24, 2:58] = 255  # 20 high, 56 wide: the height decides
    moved, placed = place(image, mask, goal, (0, 0))
    assert bounding_box(placed) == (25, 4, 35, 24)
    assert set(np.unique(placed)) == {0, 100}
    assert abs(int(moved[4, 30, 0]) - 10) <= 1
    assert abs(int(moved[23, 30, 0]) - 49) <= 1
    assert bounding_box(place(image, mask, goal, (3, -2))[1]) == (28, 2, 38, 22)


def test_a_foreground_that_scaling_carries_away_keeps_its_size():
    mask = np.zeros((40, 40), np.uint8)
    mask[0:4, 0:4] = 255  # in a corner: enlarged about the center it leaves the picture
    goal = np.zeros((40, 40), np.uint8)
    goal[10:34, 10:34] = 255
    assert not move(mask, scale=6.0).any()
    image = random_image(40, 40)
    moved, placed = place(image, mask, goal, (0, 0))
    assert bounding_box(placed) == (20, 20, 24, 24)
    np.testing.assert_array_equal(moved[20:24, 20:24], image[0:4, 0:4])


def test_a_shift_out_of_the_picture_is_left_out():
    mask = np.zeros((40, 40), np.uint8)
    mask[18:22, 18:22] = 255
    goal = np.zeros((40, 40), np.uint8)
    goal[0:4, 0:4] = 255
    assert bounding_box(place(random_image(40, 40), mask, goal, (-10, -10))[1]) == (0, 0, 4, 4)


@pytest.mark.parametrize("empty", ["own", "target"])
def test_without_a_foreground_there_is_only_the_shift(empty):
    full, none = box_mask(), np.zeros((40, 48), np.uint8)
    masks = (none, full) if empty == "own" else (full, none)
    _, placed = place(random_image(), *masks, (2, 3))
    np.testing.assert_array_equal(placed, move(masks[0], shift=(2, 3)))


def test_moving_by_whole_pixels_is_exact_and_leaves_zeros():
    image = random_image()
    moved = move(image, shift=(5, -3))
    np.testing.assert_array_equal(moved[:-3, 5:], image[3:, :-5])
    assert not moved[-3:].any()
    assert not moved[:, :5].any()
    assert not move(image, shift=(100, 0)).any()

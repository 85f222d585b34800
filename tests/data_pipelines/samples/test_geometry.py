"""Crops, flips and resizes act alike on image and mask."""

import numpy as np
import pytest

from data_pipelines.samples.geometry import (
    Geometry,
    apply_geometry,
    draw_crop,
    draw_geometry,
    recolor_alike,
)

MODES = {"image_resize": "linear_noaa", "mask_resize": "linear_binary"}


def disc(height: int = 60, width: int = 90, row: int = 20, column: int = 60) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.where(np.hypot(y - row, x - column) < 9, 255, 0).astype(np.uint8)


def test_crop_and_flip_take_the_right_pixels() -> None:
    image = np.arange(6 * 8 * 3).reshape(6, 8, 3)
    box = (1, 2, 4, 5)
    np.testing.assert_array_equal(Geometry(box)(image), image[1:5, 2:7])
    np.testing.assert_array_equal(Geometry(box, flip=True)(image), image[1:5, 2:7][:, ::-1])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("box", [(0, 0, 60, 90), (5, 31, 41, 47)])
@pytest.mark.parametrize("image_resize", ["linear_noaa", "linear_aa", "cubic_aa"])
def test_mask_and_images_stay_aligned(image_resize: str, box: tuple, flip: bool) -> None:
    mask = disc()
    white = np.repeat(mask[..., None], 3, axis=2)
    images = {"mask": mask, "real": white, "composite": white, "background": white}
    result = apply_geometry(
        images, Geometry(box, flip), (48, 48), image_resize=image_resize, mask_resize="linear"
    )
    soft = result["mask"] * 255
    assert result["mask"].shape == (48, 48, 1)
    assert result["mask"].max() > 0.9
    for key in ("real", "composite", "background"):
        # Kernels of different widths differ on the disc's edge only, and around it evenly.
        difference = result[key][..., :1].astype(np.float32) - soft
        assert np.mean(np.abs(difference)) < 4
        assert np.all(difference[(soft == 0) | (soft == 255)] ** 2 < 90**2)
        centers = [np.argwhere(image[..., 0] > 127).mean(0) for image in (result[key], soft)]
        np.testing.assert_allclose(*centers, atol=0.15)


def test_flips_are_drawn_with_their_probability() -> None:
    flips = [
        draw_geometry(disc(), np.random.default_rng(seed), flip=0.3).flip for seed in range(400)
    ]
    assert 0.22 < np.mean(flips) < 0.38
    assert not draw_geometry(disc(), np.random.default_rng(0)).flip
    assert draw_geometry(disc(), np.random.default_rng(0), flip=1.0).flip


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (33, 257)])
def test_drawn_crops_lie_inside_with_area_and_aspect_in_range(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(200):
        top, left, height, width = draw_crop(size, rng, scale=(0.5, 1.0), ratio=(0.75, 4 / 3))
        assert min(top, left) >= 0
        assert top + height <= size[0]
        assert left + width <= size[1]
        assert 0.75 - 0.05 <= width / height <= 4 / 3 + 0.05  # rounded to whole pixels
        areas.append(height * width / (size[0] * size[1]))
    if size != (33, 257):  # there, half the area does not fit: the largest square-like box is taken
        assert min(areas) > 0.48
        assert np.ptp(areas) > 0.2


def test_crops_without_foreground_are_drawn_again() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:6, :6] = 255  # many crops of a quarter of the area miss the corner
    options = {"crop_scale": (0.25, 0.3), "image_size": 64}

    def share_with_foreground(keep_background: float) -> float:
        geometries = [
            draw_geometry(
                mask, np.random.default_rng(seed), keep_background=keep_background, **options
            )
            for seed in range(80)
        ]
        return float(np.mean([geometry(mask).any() for geometry in geometries]))

    assert share_with_foreground(0.0) == 1.0
    assert share_with_foreground(1.0) < 0.4


def test_crops_have_the_chosen_aspect() -> None:
    full = np.full((80, 80), 255, np.uint8)
    for aspect in (0.5, 2.0):
        geometry = draw_geometry(
            full, np.random.default_rng(0), crop_scale=(0.3, 0.4), crop_ratio=(aspect, aspect)
        )
        assert geometry.box is not None
        _, _, height, width = geometry.box
        assert width / height == pytest.approx(aspect, rel=0.05)


def test_the_whole_image_is_kept_where_no_crop_can_hold_foreground() -> None:
    empty = np.zeros((32, 48), np.uint8)
    geometry = draw_geometry(
        empty, np.random.default_rng(0), crop_scale=(0.5, 0.9), keep_background=0.0
    )
    assert geometry.box == (0, 0, 32, 48)


def test_equal_generators_draw_equal_geometry() -> None:
    drawn = [
        draw_geometry(disc(), np.random.default_rng(seed), flip=0.5, crop_scale=(0.5, 1.0))
        for seed in (3, 3, 4)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_recolor_alike_keeps_the_relation_of_the_images():
    real = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    mask = np.zeros((20, 30, 1), np.float32)
    mask[5:15, 5:15] = 1
    composite = np.where(mask > 0, 255 - real, real).astype(np.uint8)
    images = {"real": real, "composite": composite, "mask": mask}
    changed = recolor_alike(images, np.random.default_rng(1))
    assert changed["mask"] is mask
    background = mask[..., 0] == 0
    np.testing.assert_array_equal(changed["real"][background], changed["composite"][background])
    assert np.abs(changed["real"].astype(int) - real).mean() > 3
    again = recolor_alike(images, np.random.default_rng(1))
    np.testing.assert_array_equal(changed["real"], again["real"])

"""Changes of light: seeded, within their ranges, smooth, and global only where they should be."""

from typing import get_args

import numpy as np
import pytest

from data_pipelines.samples import lighting
from data_pipelines.samples.recoloring import FAMILIES, recolor
from jaxharm.config import Family, SynthesisConfig
from jaxharm.metrics import curve_fmse, fmse

NATIVE = {"protocol": "default_native"}


def photograph(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """A colorful u8[h,w,3] with texture, so dark that no gain clips."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / width
    waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(-6, 6, (3, 3))]
    image = 80 + 18 * np.stack(waves, -1) + rng.normal(0, 8, (height, width, 3))
    return np.clip(image, 0, 130).astype(np.uint8)


def disc(height: int = 60, width: int = 80) -> np.ndarray:
    """A mask f32[h,w] of 0 and 1, with one soft pixel."""
    y, x = np.mgrid[0:height, 0:width]
    mask = (np.hypot(y - height / 2, x - width / 2) < height / 3).astype(np.float32)
    mask[height // 2, width // 2] = 0.7
    return mask


def test_light_is_an_option_and_no_default():
    assert get_args(Family) == (*FAMILIES, *lighting.FAMILIES)
    assert SynthesisConfig().families == tuple(FAMILIES)
    assert SynthesisConfig(families=tuple(lighting.FAMILIES)).families == tuple(lighting.FAMILIES)


@pytest.mark.parametrize("family", lighting.FAMILIES)
def test_only_the_object_changes_and_equal_generators_give_equal_composites(family: str) -> None:
    real, mask = photograph(0), disc()
    kept = real.copy(), mask.copy()
    first, again, other = (
        recolor(real, mask, np.random.default_rng(seed), families=(family,)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    for composite in (first, other):
        np.testing.assert_array_equal(composite[mask == 0], real[mask == 0])
        assert np.mean(composite[mask > 0] != real[mask > 0]) > 0.8
    np.testing.assert_array_equal(real, kept[0])
    np.testing.assert_array_equal(mask, kept[1])


def test_a_field_is_smooth_within_its_range_and_has_contrast() -> None:
    mask = disc()
    for seed in range(20):
        field = lighting.stops_field(mask, np.random.default_rng(seed))
        assert np.abs(field).max() <= lighting.LIGHT_STOPS + lighting.COLOR_STOPS + 1e-6
        inside = mask >= 0.5
        # Channels differ by at most COLOR_STOPS from the common part, whose contrast is drawn.
        reach = np.ptp(field[inside].mean(axis=1))
        low, high = lighting.CONTRAST
        assert low - 2 * lighting.COLOR_STOPS <= reach <= high + 2 * lighting.COLOR_STOPS
        # Smooth: on a grid four times as fine the same field rises in steps a quarter as large.
        fine = lighting.stops_field(np.kron(mask, np.ones((4, 4))), np.random.default_rng(seed))
        assert largest_step(field, mask) < high / 4
        assert largest_step(fine, np.kron(mask, np.ones((4, 4)))) < 0.3 * largest_step(field, mask)


def largest_step(field: np.ndarray, mask: np.ndarray) -> float:
    """The largest difference of neighbors that both lie in the object."""
    shown = np.where(mask[..., None] >= 0.5, field, np.nan)
    return max(np.nanmax(np.abs(np.diff(shown, axis=axis))) for axis in (0, 1))


def test_one_gain_is_a_global_curve_and_the_others_are_not() -> None:
    mask = disc()
    left = {family: [] for family in lighting.FAMILIES}
    for seed in range(6):
        real = photograph(seed)
        for family, draw in lighting.FAMILIES.items():
            change = draw(real, mask)(np.random.default_rng(seed))
            floats = real.astype(np.float32)
            inside = np.flatnonzero(mask >= 0.5)
            floats.reshape(-1, 3)[inside] = change(inside)
            # The target is fitted from 8-bit levels, so the photograph takes the composite's place:
            # a gain undoes a gain, and nothing is rounded or clipped.
            pair = (
                real[None],
                np.clip(floats / 255, 0, 1)[None],
                (mask >= 0.5)[None, ..., None].astype(np.float32),
            )
            left[family].append(curve_fmse(*pair, **NATIVE)[0] / fmse(*pair, **NATIVE)[0])
    assert max(left["gain"]) < 1e-6
    assert np.mean(left["gain_field"]) > 0.15
    assert np.mean(left["poisson"]) > 0.05


def test_leaking_colors_have_no_extreme_inside_and_start_from_the_outline() -> None:
    inside = disc(40, 40) >= 0.5
    values = np.random.default_rng(0).normal(size=(40, 40, 3)).astype(np.float32)
    stretched = lighting._Membrane(inside).stretched(values)
    np.testing.assert_array_equal(stretched[~inside], values[~inside])
    around = sum(np.roll(stretched, step, axis) for step in (-1, 1) for axis in (0, 1)) / 4
    np.testing.assert_allclose(stretched[inside], around[inside], atol=1e-4)


@pytest.mark.parametrize("family", lighting.FAMILIES)
def test_objects_of_one_pixel_and_of_the_whole_picture(family: str) -> None:
    real = photograph(1, 16, 16)
    mask = np.zeros((16, 16), np.float32)
    mask[8, 8] = 1
    composite = recolor(real, mask, np.random.default_rng(0), families=(family,))
    assert np.sum(composite != real) <= 3
    whole = recolor(real, np.ones_like(mask), np.random.default_rng(0), families=(family,))
    # Without any outline nothing leaks in.
    assert np.array_equal(whole, real) == (family == "poisson")

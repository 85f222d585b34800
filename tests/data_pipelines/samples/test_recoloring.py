"""Recolored foregrounds: seeded, bounded, and nothing else is touched."""

import numpy as np
import pytest

from data_pipelines.samples import recoloring as synthesis
from jaxharm.images import color, color_changes
from jaxharm.images.bit_depth import quantize


def photograph(seed: int, height: int = 72, width: int = 96) -> np.ndarray:
    """A smooth colorful u8[h,w,3] with some texture: color statistics as of a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / width
    waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(-5, 5, (3, 3))]
    image = 128 + 45 * np.stack(waves, -1) + rng.normal(0, 8, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def soft_mask(height: int = 72, width: int = 96) -> np.ndarray:
    """A disc with an edge some pixels wide, f32[h,w,1]; 0 far away and 1 in the middle."""
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot(y - height / 2, x - width / 2)
    return np.clip((height / 3 - radius) / 6, 0, 1).astype(np.float32)[..., None]


@pytest.mark.parametrize("family", synthesis.FAMILIES)
@pytest.mark.parametrize("with_reference", [False, True])
def test_every_family_changes_the_foreground_plausibly(family: str, with_reference: bool) -> None:
    real, mask = photograph(0), soft_mask()
    reference = photograph(1) if with_reference else None
    errors = []
    for seed in range(12):
        composite = synthesis.recolor(
            real, mask, np.random.default_rng(seed), reference=reference, families=(family,)
        )
        assert composite.dtype == np.uint8
        np.testing.assert_array_equal(composite[mask[..., 0] == 0], real[mask[..., 0] == 0])
        difference = composite.astype(float) - real
        errors.append(np.mean(difference[mask[..., 0] == 1] ** 2))
    # The window holds for a sample of the pixels with a mask of at least one half.
    assert np.mean([140 < error < 5000 for error in errors]) >= 0.9
    assert len({round(error, 3) for error in errors}) == len(errors)  # every draw is another


def test_equal_generators_give_equal_composites_and_others_do_not() -> None:
    real, mask = photograph(2), soft_mask()
    first, again, other = (
        synthesis.recolor(real, mask, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_all_families_are_drawn_and_the_input_is_left_alone(monkeypatch) -> None:
    seen = []
    for name, family in synthesis.FAMILIES.items():
        monkeypatch.setitem(
            synthesis.FAMILIES,
            name,
            lambda *args, name=name, family=family: (seen.append(name), family(*args))[1],
        )
    real, mask = photograph(3), soft_mask()
    kept = real.copy(), mask.copy()
    for seed in range(40):
        synthesis.recolor(real, mask, np.random.default_rng(seed))
    assert set(seen) == set(synthesis.FAMILIES)
    np.testing.assert_array_equal(real, kept[0])
    np.testing.assert_array_equal(mask, kept[1])


def test_soft_mask_blends_between_photograph_and_full_change() -> None:
    real = photograph(4)
    full, half = (
        np.full((*real.shape[:2], 1), value, np.float32) for value in (1.0, 0.5)
    )  # both cover every pixel, so that the same change is drawn
    changed = synthesis.recolor(real, full, np.random.default_rng(1)).astype(float)
    blended = synthesis.recolor(real, half, np.random.default_rng(1))
    np.testing.assert_allclose(blended, (real + changed) / 2, atol=1.0)  # two roundings


@pytest.mark.parametrize("value", [0.0, 0.4])
def test_mask_without_foreground_returns_the_photograph(value: float) -> None:
    real = photograph(5)
    mask = np.full((*real.shape[:2], 1), value, np.float32)
    composite = synthesis.recolor(real, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(composite, real)
    assert composite is not real


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("family", synthesis.FAMILIES)
def test_degenerate_foregrounds_stay_finite(family: str, level: int) -> None:
    real = np.full((16, 16, 3), level, np.uint8)
    mask = np.zeros((16, 16), np.float32)
    mask[8, 8] = 1  # a single pixel: no deviation, no covariance
    composite = synthesis.recolor(real, mask, np.random.default_rng(0), families=(family,))
    assert np.sum(composite != real) <= 3
    mask[:] = 1
    assert synthesis.recolor(real, mask, np.random.default_rng(0)).shape == real.shape


@pytest.mark.parametrize("families", [(), ("sepia",)])
def test_unknown_families_are_refused(families: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="choose from lab_transfer"):
        synthesis.check_families(families)


def test_reference_families_reach_the_reference_statistics() -> None:
    source, goal = photograph(6).reshape(-1, 3), photograph(7).reshape(-1, 3)
    strengths = np.random.default_rng(0)
    moved = color_changes.lab_transfer(source, goal, strengths)(source)
    before, after, aim = (color.to_lab(quantize(v)).mean(0) for v in (source, moved, goal))
    share = (after - before) / (aim - before)
    assert np.all((share > 0.5) & (share < 1.1))  # the drawn strength is in 0.6..1


def test_lab_round_trip() -> None:
    pixels = photograph(8).reshape(-1, 3)
    np.testing.assert_allclose(color.from_lab(color.to_lab(pixels)), pixels, atol=1.0)

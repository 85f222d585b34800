"""The error that no rising curve can repair."""

import numpy as np
import pytest

from jaxharm.metrics import curve_fmse, fmse

_rng = np.random.default_rng(0)
TARGET = _rng.integers(30, 220, (2, 24, 30, 3), dtype=np.uint8)
MASK = np.zeros((2, 24, 30, 1), np.float32)
MASK[:, 4:20, 5:25] = 1


def test_a_rising_curve_of_each_channel_is_undone_and_another_one_is_not():
    powers = np.array([0.6, 1.4, 1.0])
    target = (TARGET / 255.0) ** powers
    assert np.all(curve_fmse(TARGET, target, MASK) < 1e-9)
    assert np.all(fmse(TARGET, target.astype(np.float32), MASK) > 100)
    assert np.all(curve_fmse(TARGET, 1 - target, MASK) > 100)  # a negative falls
    mixed = target[..., [1, 2, 0]]  # depends on another channel
    assert np.all(curve_fmse(TARGET, mixed, MASK) > 100)


def test_a_value_by_hand():
    """Levels 10, 10, 20, 30 with targets 1, 3, 9, 5: the best rising curve is 2, 7, 7."""
    levels = np.array([10, 10, 20, 30], np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=-1)
    goal = np.array([1, 3, 9, 5], np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=-1)
    mask = np.ones((1, 2, 2, 1), np.float32)
    expected = (1 + 1 + 4 + 4) / 4
    np.testing.assert_allclose(curve_fmse(levels, goal, mask), expected)


def test_curves_of_a_picture_cannot_lower_it_and_it_is_at_most_the_fmse():
    target = np.clip(TARGET + _rng.normal(0, 20, TARGET.shape), 0, 255).astype(np.uint8)
    before = curve_fmse(TARGET, target, MASK)
    for curve in (lambda x: x**0.5, lambda x: 0.4 * x, lambda x: np.clip(1.5 * x, 0, 0.8)):
        after = curve(TARGET / np.float32(255))
        assert np.all(curve_fmse(after, target, MASK) >= before - 1e-9)
    assert np.all(before <= fmse(TARGET, target, MASK))


def test_it_is_undefined_where_the_fmse_is():
    empty = MASK.copy()
    empty[1] = 0
    values = curve_fmse(TARGET, TARGET, empty)
    assert values[0] == 0
    assert np.isnan(values[1])
    assert np.isnan(curve_fmse(TARGET, TARGET, MASK, protocol="dovenet_test_256")).all()


def test_soft_weights_count():
    soft = np.where(_rng.uniform(size=MASK.shape) < 0.5, MASK, MASK / 4)
    values = [
        curve_fmse(TARGET, TARGET[..., ::-1], mask, protocol="issam_256") for mask in (MASK, soft)
    ]
    assert np.all(values[0] != values[1])
    with pytest.raises(ValueError, match="mask must be"):
        curve_fmse(TARGET, TARGET, MASK[:1])

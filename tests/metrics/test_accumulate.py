"""Means, bins and the refusal of broken predictions."""

import math

import numpy as np
import pytest

from jaxharm.metrics.accumulate import harm_share, improvement_share, mean_of, require_finite
from jaxharm.metrics.bins import bin_name, foreground_ratio


def test_padding_and_undefined_values_leave_no_trace_in_the_mean():
    mean = mean_of([1.0, 2.0, math.nan, 99.0], valid=[1, 1, 1, 0])
    assert (mean.value, mean.count, mean.undefined) == (1.5, 2, 1)
    assert math.isnan(mean_of([math.nan]).value)
    assert mean_of([math.inf, 3.0]).undefined == 1


def test_the_sum_does_not_depend_on_the_order():
    values = np.random.default_rng(1).lognormal(0, 8, 1000)
    assert mean_of(values).total == mean_of(values[::-1]).total == mean_of(sorted(values)).total


def test_improvement_share_counts_strict_improvements_of_defined_pairs():
    share = improvement_share([1.0, 2.0, 3.0, math.nan], [2.0, 2.0, 4.0, 1.0])
    assert (share.count, share.undefined) == (3, 1)
    assert share.value == pytest.approx(2 / 3)


def test_harm_share_counts_what_is_more_than_a_tenth_worse():
    errors, before = [1.0, 10.9, 11.1, 0.0, 0.1, math.nan], [2.0, 10.0, 10.0, 0.0, 0.0, 1.0]
    share = harm_share(errors, before)
    assert (share.count, share.undefined) == (5, 1)
    assert share.value == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [(0, "0-5"), (19, "0-5"), (20, "5-15"), (59, "5-15"), (60, "15-100"), (400, "15-100")],
)
def test_bin_edges_belong_to_the_bin_above(pixels, name):
    mask = np.zeros((1, 400, 1, 1), np.float32)
    mask[0, :pixels] = 1
    assert bin_name(foreground_ratio(mask.reshape(1, 20, 20, 1))[0]) == name


def test_a_broken_prediction_names_the_image():
    with pytest.raises(ValueError, match="a0002_1_4"):
        require_finite(False, "a0002_1_4")
    require_finite(True, "a0002_1_4")

"""The sRGB transfer and both ways to CIE Lab."""

import numpy as np
import pytest

from jaxharm.images import chart
from jaxharm.images.color import exact_lab, from_lab, from_linear, to_lab, to_linear


def test_the_transfer_is_inverted():
    encoded = np.linspace(0, 1, 256)
    np.testing.assert_allclose(from_linear(to_linear(encoded)), encoded, atol=1e-6)
    assert to_linear(np.array([0.5]))[0] == pytest.approx(0.21404114)  # IEC 61966-2-1


def test_the_fast_lab_is_near_the_exact_one():
    rgb = np.random.default_rng(0).integers(0, 256, (20_000, 3)).astype(np.uint8)
    exact = np.concatenate(exact_lab(rgb / 255.0), axis=-1)
    assert np.abs(to_lab(rgb) - exact).max() < 0.5
    np.testing.assert_allclose(from_lab(to_lab(rgb)), rgb, atol=1.5)


def test_white_gray_and_red_have_their_lab_values():
    rgb = np.array([[255, 255, 255], [119, 119, 119], [255, 0, 0]]) / 255.0
    expected = [[100, 0, 0], [50.03, 0, 0], [53.24, 80.09, 67.20]]
    np.testing.assert_allclose(np.concatenate(exact_lab(rgb), -1), expected, atol=0.02)


def test_both_tables_of_the_chart_name_the_same_patches():
    rows = chart.STANDARD.reshape(4, 6, 3)[::-1].reshape(24, 3)
    assert np.abs(rows - chart.PUBLISHED).max() <= 21
    assert chart.PATCHES[0] == "white"
    assert chart.PATCHES[18] == "dark skin"
    assert np.ptp(chart.STANDARD[:6], axis=1).max() <= 4  # the gray row

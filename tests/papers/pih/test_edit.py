"""Blending by luminance and color, against the formulas of W3C Compositing pixel by pixel."""

import numpy as np
import pytest

from jaxharm.errors import InputError
from jaxharm.papers.pih.edit import Edit, blend_images

RANDOM = np.random.default_rng(0)
COMPOSITE, RESULT = (RANDOM.random((1, 12, 9, 3), np.float32) for _ in range(2))
COMPOSITE[0, 0], RESULT[0, 0] = 0, 1  # black under white
COMPOSITE[0, 1, :, 0] = 1


def luminance(color):
    return 0.30 * color[0] + 0.59 * color[1] + 0.11 * color[2]


def set_luminance(color, wanted):
    """SetLum and ClipColor of the specification, written as it writes them."""
    color = color + (wanted - luminance(color))
    own, lowest, highest = luminance(color), color.min(), color.max()
    if lowest < 0:
        color = own + (color - own) * own / (own - lowest)
    if highest > 1:
        color = own + (color - own) * (1 - own) / (highest - own)
    return color


@pytest.mark.parametrize("blend", ["luminance", "color", "all"])
def test_blends_are_those_of_image_editors(blend):
    blended = np.asarray(blend_images(COMPOSITE, RESULT, blend))
    for place in np.ndindex(COMPOSITE.shape[:3]):
        below, above = COMPOSITE[place].astype(np.float64), RESULT[place].astype(np.float64)
        expected = {
            "luminance": set_luminance(below, luminance(above)),
            "color": set_luminance(above, luminance(below)),
            "all": above,
        }[blend]
        np.testing.assert_allclose(blended[place], expected, atol=2e-6)
    assert blended.min() >= -1e-6
    assert blended.max() <= 1 + 1e-6


def test_shading_strength_is_the_rule_of_the_spec():
    offset = 0.6
    shading = offset + (1 - offset) * RANDOM.random((5, 4), np.float32)
    for lowest in (1.0, 0.8, 0.6, 0.3, 0.0):
        gain = Edit(shading_strength=(1 - lowest) / (1 - offset)).gain(shading)
        expected = (shading - offset) * (1 - lowest) / (1 - offset) + lowest
        np.testing.assert_allclose(gain, expected, atol=1e-6)
    assert np.asarray(Edit(shading_strength=10).gain(shading)).min() == 0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"parts": "both"}, "'both' is not one of all, curves, shading"),
        ({"blend": "hue"}, "'hue' is not one of all, luminance, color"),
        ({"shading_strength": -1}, "shading strength -1 is not between 0 and 10"),
        ({"shading_strength": float("nan")}, "shading strength nan"),
        ({"channels": (1, 1)}, "are not three numbers"),
        ({"channels": (1, 1, 2)}, "are not three numbers"),
    ],
)
def test_edits_that_mean_nothing_are_refused(wrong, reason):
    with pytest.raises(InputError, match=reason):
        Edit(**wrong)

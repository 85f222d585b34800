"""Predicting first and rendering later equals one call; missing backgrounds are filled in."""

import numpy as np
import pytest
from support.inference_cases import example, harmonizer

import jaxharm
from jaxharm.errors import InputError


def test_predict_then_render_is_one_call(tmp_path):
    run = harmonizer("pih")
    composite, mask, background = example("pih", 90, 70, np.uint16, channels=4)
    background = background[::-1]
    parameters = run.predict(composite, mask, background=background)
    assert parameters.curves.shape == (3, 32)
    assert parameters.shading.shape == (run.model.config.default_size,) * 2
    whole = run(composite, mask, background=background)
    parameters.save(tmp_path / "p.json")
    for given in (parameters, tmp_path / "p.json"):
        result = jaxharm.render(composite, mask, given, background=background)
        np.testing.assert_array_equal(result, whole)
    edit = jaxharm.Edit(parts="curves", blend="luminance", channels=(1, 1, 0.5))
    edited = run(composite, mask, background=background, strength=0.7, options=edit)
    again = jaxharm.render(
        composite, mask, parameters, background=background, strength=0.7, options=edit
    )
    np.testing.assert_array_equal(edited, again)
    assert (edited != whole).any()


def test_parameters_serve_other_images():
    composite, mask, _ = example("pih", 90, 70)
    parameters = harmonizer("pih").predict(composite, mask)
    other, other_mask, _ = example("pih", 41, 133, np.float32, seed=1)
    result = jaxharm.render(other, other_mask, parameters)
    assert result.shape == other.shape
    assert result.dtype == other.dtype
    np.testing.assert_array_equal(result[other_mask == 0], other[other_mask == 0])
    assert (result[other_mask == 1] != other[other_mask == 1]).mean() > 0.9


def test_options_of_a_rendering_are_checked():
    composite, mask, _ = example("pih", 90, 70)
    parameters = harmonizer("pih").predict(composite, mask)
    by_field = jaxharm.render(composite, mask, parameters, parts="shading")
    edit = jaxharm.Edit(parts="shading")
    np.testing.assert_array_equal(
        by_field, jaxharm.render(composite, mask, parameters, options=edit)
    )
    with pytest.raises(InputError, match="unknown option stage of model 'pih'; valid: parts, "):
        jaxharm.render(composite, mask, parameters, stage=2)
    with pytest.raises(InputError, match="parts 'hue' is not one of all, curves, shading"):
        harmonizer("pih")(composite, mask, parts="hue")


def test_a_plate_is_filled_in_where_none_is_given():
    composite, mask, _ = example("pih", 90, 70)
    other = composite.copy()
    other[mask > 0.5] = 0
    run = harmonizer("pih")
    with_plate = run(composite, mask, background=other)
    without = run(composite, mask)
    assert (with_plate != without).any()
    np.testing.assert_array_equal(without[mask == 0], composite[mask == 0])

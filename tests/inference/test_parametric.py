"""Rendering in pieces equals the formula on the whole image."""

import numpy as np
import pytest

from jaxharm.inference import parametric, tiles
from jaxharm.inference.parameters import Parameters
from jaxharm.inference.parametric import render
from jaxharm.inference.pixels import Inputs


def example(dtype, height=61, width=47, plate=True, seed=0):
    random = np.random.default_rng(seed)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (random.random((2, height, width, 3)) * top).astype(dtype)
    mask = np.clip(random.random((height, width), np.float32) * 3 - 1, 0, 1)
    parameters = Parameters(
        random.random((3, 32), np.float32), 0.5 + random.random((9, 9), np.float32) / 2
    )
    return Inputs(image[0], None, mask, image[1] if plate else None), parameters, top


def expected(inputs, parameters, top):
    """specs/pih 2, 2.1 and 7 in float64."""
    image = inputs.composite.astype(np.float64) / top
    plate = image if inputs.background is None else inputs.background.astype(np.float64) / top
    knots = (np.arange(32) + 0.5) / 32
    curved = np.stack(
        [np.interp(image[..., c], knots, parameters.curves[c]) for c in range(3)], axis=-1
    )
    mask = inputs.mask[..., None].astype(np.float64)
    size = mask.shape[:2]
    shading = 1.0
    if parameters.shading is not None:
        shading = tiles.enlarge_rows(parameters.shading, size, slice(0, size[0]))[..., None]
    return (curved * mask + (1 - mask) * plate) * shading * mask + (1 - mask) * plate


@pytest.mark.parametrize("plate", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_rendering_is_the_formula_rounded_once(dtype, plate):
    inputs, parameters, top = example(dtype, plate=plate)
    result = render(inputs, parameters)
    assert result.dtype == dtype
    outside = inputs.mask == 0
    assert 0.1 < outside.mean() < 0.9
    np.testing.assert_array_equal(result[outside], inputs.composite[outside])
    wanted = expected(inputs, parameters, top) * top
    # Half a step of rounding and float32's error on the type's range (times the curves' slope, 32).
    tolerance = (0.5 if top > 1 else 0) + 32 * 4e-7 * top
    np.testing.assert_allclose(result[~outside], wanted[~outside], atol=tolerance, rtol=0)


def test_tiles_change_nothing(monkeypatch):
    inputs, parameters, _ = example(np.uint16)
    whole = render(inputs, parameters)
    monkeypatch.setattr(tiles, "TILE_PIXELS", 150)
    np.testing.assert_array_equal(render(inputs, parameters), whole)


def test_strength_goes_from_the_composite_to_the_result():
    inputs, parameters, _ = example(np.float32)
    full, half = render(inputs, parameters), render(inputs, parameters, 0.5)
    np.testing.assert_array_equal(render(inputs, parameters, 0.0), inputs.composite)
    np.testing.assert_allclose(half, (full + inputs.composite) / 2, atol=1e-6)


def test_a_few_piece_sizes_serve_every_image():
    parametric._render_arrays.clear_cache()
    for side in (20, 33, 50, 90, 100, 120):
        render(*example(np.uint8, side, side + 7)[:2])
    assert parametric._render_arrays._cache_size() == 1


def test_single_alpha_blends_once():
    inputs, parameters, top = example(np.float32)
    once = Parameters(parameters.curves, None, single_alpha=True)
    soft = inputs.mask[..., None]
    solid = inputs.mask > 1 / 255
    foreground = (inputs.composite - (1 - soft) * inputs.background) / np.maximum(soft, 1 / 255)
    foreground = np.clip(foreground, 0, 1)
    curved = expected(Inputs(foreground, None, np.ones_like(inputs.mask), None), once, top)
    wanted = curved * soft + (1 - soft) * inputs.background
    np.testing.assert_allclose(render(inputs, once)[solid], wanted[solid], atol=1e-4)

"""Rendering in pieces equals the formula on the whole image."""

import numpy as np
import pytest

from jaxharm.inference import tiles
from jaxharm.interfaces import Inputs
from jaxharm.papers.pih import full_size
from jaxharm.papers.pih.edit import Edit
from jaxharm.papers.pih.full_size import render_full_size as render
from jaxharm.papers.pih.parameters import Parameters


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
    """docs/papers/pih.md, "Rendering", in float64."""
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


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_tiles_and_threads_change_nothing(monkeypatch, dtype):
    inputs, parameters, _ = example(dtype)
    whole = render(inputs, parameters)
    monkeypatch.setattr(full_size, "_PIECES", (128, 256))
    monkeypatch.setattr(full_size.os, "cpu_count", lambda: 1)
    in_tiles = render(inputs, parameters)
    np.testing.assert_allclose(in_tiles, whole, atol=1e-7, rtol=0)  # exact for integers
    monkeypatch.setattr(full_size.os, "cpu_count", lambda: 3)
    np.testing.assert_array_equal(render(inputs, parameters), in_tiles)


def test_strength_goes_from_the_composite_to_the_result():
    inputs, parameters, _ = example(np.float32)
    full, half = render(inputs, parameters), render(inputs, parameters, 0.5)
    np.testing.assert_array_equal(render(inputs, parameters, 0.0), inputs.composite)
    np.testing.assert_allclose(half, (full + inputs.composite) / 2, atol=1e-6)


def test_a_few_piece_sizes_serve_every_image():
    full_size._render_arrays.clear_cache()
    for side in (20, 33, 50, 90, 100, 120):
        render(*example(np.uint8, side, side + 7)[:2])
    assert full_size._render_arrays._cache_size() == 1


def test_edits_take_parts_of_the_result():
    inputs, parameters, _ = example(np.float32)
    composite, soft = inputs.composite, inputs.mask[..., None]
    curves = Parameters(parameters.curves, None)
    np.testing.assert_array_equal(
        render(inputs, parameters, edit=Edit(parts="curves")), render(inputs, curves)
    )
    identity = Inputs(composite, None, inputs.mask, inputs.background)
    gain = tiles.enlarge_rows(parameters.shading, inputs.mask.shape, slice(0, 61))[..., None]
    rest = (1 - soft) * identity.background
    shaded = (composite * soft + rest) * gain * soft + rest
    np.testing.assert_allclose(
        render(inputs, parameters, edit=Edit(parts="shading")),
        np.where(soft > 0, shaded, composite),
        atol=1e-6,
    )
    full = render(inputs, parameters)
    blue = render(inputs, parameters, 0.5, Edit(channels=(0, 0.5, 1)))
    np.testing.assert_array_equal(blue[..., 0], composite[..., 0])
    np.testing.assert_allclose(
        blue[..., 1], 0.75 * composite[..., 1] + 0.25 * full[..., 1], atol=1e-6
    )
    np.testing.assert_allclose(blue[..., 2], (composite[..., 2] + full[..., 2]) / 2, atol=1e-6)


@pytest.mark.parametrize("blend", ["luminance", "color"])
def test_blends_leave_the_background_and_take_their_part(blend):
    inputs, parameters, _ = example(np.uint16)
    result = render(inputs, parameters, edit=Edit(blend=blend))
    full = render(inputs, parameters)
    outside = inputs.mask == 0
    np.testing.assert_array_equal(result[outside], inputs.composite[outside])
    weights = np.array([0.30, 0.59, 0.11])
    wanted = full if blend == "luminance" else inputs.composite
    np.testing.assert_allclose((result @ weights)[~outside], (wanted @ weights)[~outside], atol=1.5)


@pytest.mark.golden
def test_full_size_rendering_of_the_reference(shared):
    golden, inputs, parameters = of_golden(shared)
    result = render(inputs, parameters)
    np.testing.assert_allclose(result, golden["final"][0], atol=1e-5, rtol=0)
    curves = render(inputs, parameters, edit=Edit(parts="curves"))
    np.testing.assert_allclose(curves, golden["intermediate"][0], atol=1e-5, rtol=0)


@pytest.mark.golden
@pytest.mark.parametrize("lowest", [0.6, 0.8, 0.3])
def test_edits_of_the_reference(shared, lowest):
    """Curves of the artist, and the shading's range [0.6,1] moved to [lowest,1]."""
    golden, inputs, parameters = of_golden(shared)
    edited = Parameters(golden["edit_curves"][0], parameters.shading)
    edit = Edit(shading_strength=(1 - lowest) / (1 - 0.6))
    result = render(inputs, edited, edit=edit)
    np.testing.assert_allclose(result, golden[f"edit_final_s{lowest}"][0], atol=1e-5, rtol=0)


def of_golden(folder):
    """The recorded image with float pixels, and the recorded parameters."""
    golden = np.load(folder / "golden/pih/highres_and_edit.npz")
    composite, background, mask = (
        golden[f"{key}_u8"] / np.float32(255) for key in ("composite", "background", "mask")
    )
    # The reference takes the background where the mask is 0; here that is the composite.
    composite = np.where(mask[..., None] > 0, composite, background)
    parameters = Parameters(golden["curves"][0], golden["shading_low"][0, ..., 0])
    return golden, Inputs(composite, None, mask, background), parameters


def test_single_alpha_blends_once():
    inputs, parameters, top = example(np.float32)
    once = Parameters(parameters.curves, None, single_alpha=True)
    soft = inputs.mask[..., None]
    solid = inputs.mask > 1 / 255
    foreground = (inputs.composite - (1 - soft) * inputs.background) / np.maximum(soft, 1 / 255)
    foreground = np.clip(foreground, 0, 1)
    curved = expected(Inputs(foreground, None, np.ones_like(inputs.mask), None), once, top)
    wanted = curved * soft + (1 - soft) * inputs.background
    result = render(inputs, once)
    np.testing.assert_allclose(result[solid], wanted[solid], atol=1e-4)
    twice = Parameters(parameters.curves, None)
    assert np.abs(render(inputs, twice) - result).max() > 0.01
    np.testing.assert_array_equal(render(inputs, twice, edit=Edit(single_alpha=True)), result)

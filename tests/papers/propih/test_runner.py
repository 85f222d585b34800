"""ProPIH on images of any size: stages, exit, padding, what surrounds the object."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import QUICK_COMPILE, random_weights

from jaxharm.errors import InputError
from jaxharm.inference import Harmonizer
from jaxharm.inference.pixels import check_inputs
from jaxharm.papers.propih import runner
from jaxharm.papers.propih.model import ProPIH, ProPIHConfig
from jaxharm.papers.propih.restyle import Restyle


@functools.cache
def harmonizer(size=None, exit_head=True):
    model = ProPIH(ProPIHConfig.tiny(exit_head=exit_head))
    return Harmonizer(model, variables=random_weights("propih", model.config), size=size)


def example(height=45, width=70, dtype=np.uint8, channels=3):
    random = np.random.default_rng(0)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    composite, painting = (random.random((2, height, width, channels)) * top).astype(dtype)
    # Where alpha is 0 there is no color to keep.
    composite[..., 3:] = np.maximum(composite[..., 3:], top // 2)
    mask = np.zeros((height, width), np.float32)
    mask[8 : height - 9, 10:40] = 1
    mask[7, 10:40] = 0.4
    return composite, mask, painting[..., :3]


def direct(composite, mask, painting, number):
    """The model's own result of images whose sides fit, blended in float32."""
    run = harmonizer()
    images = [jnp.asarray(a, jnp.float32)[None] for a in (composite, mask[..., None], painting)]
    method = functools.partial(run.model.apply, number=number, method="until_stage")
    arguments = (run.runner._variables, *images)
    compiled = jax.jit(method).lower(*arguments).compile(QUICK_COMPILE)
    return np.asarray(compiled(*arguments).image[0])


@pytest.mark.slow
def test_a_size_that_fits_is_the_model_itself():
    number = 2
    composite, mask, painting = example(48, 72, np.float32)
    result = harmonizer()(composite, mask, background=painting, stage=number)
    pasted = composite * mask[..., None] + painting * (1 - mask[..., None])
    np.testing.assert_allclose(result, direct(pasted, mask, painting, number), atol=3e-6)


def test_other_sizes_are_mirrored_to_a_multiple_of_8_and_cut_back():
    composite, mask, painting = example(45, 70, np.float32)
    result = harmonizer()(composite, mask, background=painting)
    pasted = composite * mask[..., None] + painting * (1 - mask[..., None])
    border = ((0, 3), (0, 2), (0, 0))
    padded = [np.pad(a, border, mode="reflect") for a in (pasted, mask[..., None], painting)]
    expected = direct(padded[0], padded[1][..., 0], padded[2], 4)[:45, :70]
    np.testing.assert_allclose(result, expected, atol=3e-6)


def test_stages_all_auto_and_one_by_one_agree():
    composite, mask, painting = example()
    run = functools.partial(harmonizer(), composite, mask, background=painting)
    every = run(stage="all")
    assert every.shape == (4, 45, 70, 3)
    for number in range(1, 5):
        np.testing.assert_array_equal(every[number - 1], run(stage=number))
        assert np.any(every[number - 1] != every[number - 2])
    np.testing.assert_array_equal(every[3], run())
    np.testing.assert_array_equal(every[0], run(options=Restyle("auto", exit_threshold=0.0)))
    np.testing.assert_array_equal(every[3], run(options=Restyle("auto", exit_threshold=1.0)))
    calls = harmonizer().runner.stages.calls
    calls.clear()
    run(options=Restyle("auto", exit_threshold=0.0))
    assert calls == [(1, 1)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_outside_of_the_object_is_the_painting(dtype):
    composite, mask, painting = example(dtype=dtype, channels=4)
    result = harmonizer()(composite, mask, background=painting, stage="all")
    assert result.dtype == dtype
    assert result.shape == (4, 45, 70, 4)
    for image in result:
        np.testing.assert_array_equal(image[..., 3], composite[..., 3])
        np.testing.assert_array_equal(image[mask == 0][:, :3], painting[mask == 0])
    untouched = harmonizer()(composite, mask, background=painting, strength=0)
    np.testing.assert_array_equal(untouched[mask == 1][:, :3], composite[mask == 1][:, :3])


@pytest.mark.slow
def test_a_given_size_is_predicted_at_and_enlarged():
    composite, mask, painting = example(90, 140)
    result = harmonizer(64)(composite, mask, background=painting)
    assert result.shape == composite.shape
    np.testing.assert_array_equal(result[mask == 0], painting[mask == 0])
    assert np.any(result[mask == 1] != composite[mask == 1])


def test_large_images_are_predicted_small_with_a_warning(monkeypatch):
    monkeypatch.setattr(runner, "NATIVE_PIXELS", 48 * 72)
    composite, mask, painting = example(96, 144)
    with pytest.warns(UserWarning, match="144x96 pixels are restyled at 72x48"):
        result = harmonizer()(composite, mask, background=painting)
    assert result.shape == (96, 144, 3)
    np.testing.assert_array_equal(result[mask == 0], painting[mask == 0])


def test_truncation_is_the_official_way_to_store():
    composite, mask, painting = example()
    run = functools.partial(harmonizer(), composite, mask, background=painting)
    nearest, cut = run(), run(options=Restyle(rounding="trunc"))
    step = nearest.astype(int) - cut
    assert set(np.unique(step)) == {0, 1}
    levels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1)
    inputs = check_inputs(levels.repeat(3, 2), np.ones((256, 1), np.float32), None)
    kept = runner._stored(levels / np.float32(255), inputs, "trunc")
    assert set(np.unique(levels.astype(int) - kept)) == {0, 1}


def test_what_does_not_fit_is_refused():
    composite, mask, painting = example()
    run = functools.partial(harmonizer(), composite, mask, background=painting)
    for stage in (0, 5, "best", True, 2.5):
        with pytest.raises(InputError, match="choose one of 1, 2, 3, 4, auto, all"):
            run(stage=stage)
    with pytest.raises(InputError, match="threshold 2"):
        run(options=Restyle("auto", exit_threshold=2.0))
    with pytest.raises(InputError, match="rounding 'up'"):
        run(options=Restyle(rounding="up"))
    with pytest.raises(InputError, match="either options= or stage, not both"):
        run(stage=1, options=Restyle())
    with pytest.raises(InputError, match="no exit head"):
        harmonizer(exit_head=False)(composite, mask, background=painting, stage="auto")
    with pytest.raises(InputError, match=r"propih needs a background image.*painting"):
        harmonizer()(composite, mask)
    with pytest.raises(InputError, match="background is 70x44 pixels and the composite 70x45"):
        run(background=painting[1:])
    with pytest.raises(InputError, match=r"70x15 pixels .* at least 16"):
        harmonizer()(composite[:15], np.eye(15, 70), background=painting[:15])
    for size in (8, 60):
        with pytest.raises(InputError, match="a multiple of 8, at least 16"):
            harmonizer(size)
    with pytest.raises(InputError, match="unknown option parts of model 'propih'; valid: stage, "):
        run(parts="curves")


def test_options_are_kept_apart():
    assert dataclasses.replace(Restyle(), stage="auto").mode == "gru"
    assert (Restyle(2).mode, Restyle(2).number, Restyle("all").number) == ("fixed", 2, 4)

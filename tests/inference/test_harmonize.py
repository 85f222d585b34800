"""Every registered model, small and randomly initialized, on images that are not its size."""

import functools
import threading

import jax
import numpy as np
import pytest
from support.random_weights import random_variables

import jaxharm
from jaxharm import registry
from jaxharm.errors import InputError
from jaxharm.images import write_image
from jaxharm.inference import Harmonizer, harmonize
from jaxharm.inference.full_image import NATIVE_FACTOR
from jaxharm.weights.portable import save_weights

NAMES = [name for name in registry.list_models() if name != "toy"]
PIXEL_NAMES = [name for name in NAMES if registry.get(name).strategy == "image"]
PARAMETRIC_NAMES = [name for name in NAMES if registry.get(name).strategy == "parametric"]


@functools.cache
def tiny(name):
    """The model of `name` at its tiny configuration, and its random variables."""
    entry = registry.get(name)
    make = entry.config().tiny
    preset = {key: entry.preset[key] for key in ("light",) if key in entry.preset}
    model = entry.model()(config=make(**preset))
    return model, random_variables(name, model.config)


@functools.cache
def harmonizer(name, size=None):
    model, variables = tiny(name)
    return Harmonizer(model, variables=variables, size=size)


@functools.partial(jax.jit, static_argnums=0)
def apply(model, variables, composite, mask, background):
    return model.apply(variables, composite, mask, background=background, train=False)


def example(name, height, width, dtype=np.uint8, channels=3, seed=0):
    """Composite, mask with a soft edge, and the background if the model wants one."""
    random = np.random.default_rng(seed)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    composite = (random.random((height, width, channels)) * top).astype(dtype)
    rows = np.clip(np.minimum(np.arange(height) - 9, height - 12 - np.arange(height)) / 4, 0, 1)
    columns = np.clip(np.minimum(np.arange(width) - 7, width - 9 - np.arange(width)) / 4, 0, 1)
    mask = (rows[:, None] * columns).astype(np.float32)
    background = composite[..., :3] if registry.get(name).needs_background else None
    return composite, mask, background


@pytest.mark.parametrize("shape", [(101, 67), (131, 111), (300, 140)])
@pytest.mark.parametrize("name", NAMES)
def test_any_size_in_the_same_size_out(name, shape):
    composite, mask, background = example(name, *shape)
    before = composite.copy(), mask.copy()
    result = harmonizer(name)(composite, mask, background=background)
    assert result.shape == composite.shape
    assert result.dtype == composite.dtype
    np.testing.assert_array_equal(result[mask == 0], composite[mask == 0])
    assert (result[mask == 1] != composite[mask == 1]).mean() > 0.1
    np.testing.assert_array_equal(composite, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("dtype", [np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_gives_the_same_picture(name, dtype):
    composite, mask, background = example(name, 101, 67)
    wanted = harmonizer(name)(composite, mask, background=background) / 255.0
    top = 65535 if dtype == np.uint16 else 1
    scaled = np.rint(composite * 257.0) if dtype == np.uint16 else composite / 255.0
    scaled = scaled.astype(dtype)
    plate = None if background is None else scaled
    result = harmonizer(name)(scaled, mask, background=plate)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result[mask == 0], scaled[mask == 0])
    # One 8-bit step for the result's rounding and one for that of the network's 8-bit input.
    np.testing.assert_allclose(result.astype(np.float64) / top, wanted, atol=2.5 / 255)


@pytest.mark.parametrize("name", NAMES)
def test_alpha_is_kept(name):
    composite, mask, background = example(name, 101, 67, channels=4)
    result = harmonizer(name)(composite, mask, background=background)
    np.testing.assert_array_equal(result[..., 3], composite[..., 3])
    plain = harmonizer(name)(composite[..., :3], mask, background=background)
    np.testing.assert_array_equal(result[..., :3], plain)


@pytest.mark.parametrize("name", NAMES)
def test_cut_out_over_a_background(name):
    composite, mask, _ = example(name, 101, 67)
    background = 255 - composite
    cutout = np.dstack([composite, np.rint(mask * 255).astype(np.uint8)])
    result = harmonizer(name)(cutout, background=background)
    assert result.shape == (101, 67, 3)
    outside = cutout[..., 3] == 0
    np.testing.assert_array_equal(result[outside], background[outside])


@pytest.mark.parametrize("name", PIXEL_NAMES)
def test_native_size_is_the_model_itself(name):
    composite, mask, background = example(name, 64, 96, np.float32)
    model, variables = tiny(name)
    assert NATIVE_FACTOR * model.config.default_size >= 96
    plate = None if background is None else background[None]
    soft = mask[..., None]
    output = apply(model, variables, composite[None], soft[None], plate)
    result = harmonizer(name)(composite, mask, background=background)
    raw = np.clip(np.asarray(output.aux["raw"][0]), 0, 1)
    np.testing.assert_allclose(result, raw * soft + composite * (1 - soft), atol=2e-6)


@pytest.mark.parametrize("name", PARAMETRIC_NAMES)
def test_parametric_result_is_the_model_itself_at_its_own_size(name):
    model, variables = tiny(name)
    side = model.config.default_size
    composite, mask, background = example(name, side, side, np.float32)
    background = background[::-1]
    output = apply(model, variables, composite[None], mask[None, ..., None], background[None])
    result = harmonizer(name)(composite, mask, background=background)
    expected = np.asarray(output.image[0])
    np.testing.assert_allclose(result[mask > 0], expected[mask > 0], atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_chosen_size_compiles_once_for_every_image(name):
    model, _ = tiny(name)
    run = harmonizer(name, model.config.default_size)
    for shape in ((64, 64), (131, 111), (40, 200)):
        composite, mask, background = example(name, *shape)
        result = run(composite, mask, background=background)
        np.testing.assert_array_equal(result[mask == 0], composite[mask == 0])


@pytest.mark.parametrize("name", PIXEL_NAMES)
def test_image_below_the_minimum_is_refused(name):
    smallest = tiny(name)[0].config.min_size
    composite, mask, background = example(name, smallest - 1, 96)
    mask[:] = 1
    with pytest.raises(InputError, match=f"96x{smallest - 1} pixels .* at least {smallest}"):
        harmonizer(name)(composite, mask, background=background)


def test_threads_share_one_model():
    name = "phnet_ffhqh"
    run = harmonizer(name)
    examples = [example(name, 64 + 5 * i, 80, seed=i)[:2] for i in range(4)]
    wanted = [run(*arguments) for arguments in examples]
    results = [None] * len(examples)

    def work(index):
        results[index] = run(*examples[index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(examples))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got, expected in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_files_checkpoint_and_warm_up(tmp_path):
    model, variables = tiny("pih_light")
    save_weights(tmp_path / "weights", "pih_light", model.config, variables)
    composite, mask, _ = example("pih_light", 90, 70)
    write_image(tmp_path / "a.png", composite)
    write_image(tmp_path / "m.png", np.rint(mask[..., None] * 65535).astype(np.uint16))
    from_files = jaxharm.harmonize(
        tmp_path / "a.png", str(tmp_path / "m.png"), checkpoint=tmp_path / "weights"
    )
    run = Harmonizer(checkpoint=tmp_path / "weights")
    assert run.name == "pih_light"
    run.warm_up(90, 70)
    rounded = np.rint(mask * 65535).astype(np.uint16)
    np.testing.assert_array_equal(run(composite, rounded), from_files)


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
    edited = run(composite, mask, background=background, strength=0.7, edit=edit)
    again = jaxharm.render(
        composite, mask, parameters, background=background, strength=0.7, edit=edit
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


def test_pixel_models_have_nothing_to_keep_or_edit():
    name = PIXEL_NAMES[0]
    composite, mask, background = example(name, 64, 96)
    with pytest.raises(InputError, match=f"{name} predicts pixels: it has no parameters"):
        harmonizer(name).predict(composite, mask, background=background)
    with pytest.raises(InputError, match=f"{name} has no curves and no shading to edit"):
        harmonizer(name)(composite, mask, background=background, edit=jaxharm.Edit(parts="curves"))


def test_a_plate_is_filled_in_where_none_is_given():
    composite, mask, _ = example("pih", 90, 70)
    other = composite.copy()
    other[mask > 0.5] = 0
    run = harmonizer("pih")
    with_plate = run(composite, mask, background=other)
    without = run(composite, mask)
    assert (with_plate != without).any()
    np.testing.assert_array_equal(without[mask == 0], composite[mask == 0])


def test_weights_are_never_made_up(tmp_path):
    composite, mask, _ = example("pih", 90, 70)
    with pytest.raises(InputError, match="without weights there is nothing to run"):
        harmonize(composite, mask, model="pih")
    model, variables = tiny("pih")
    with pytest.raises(InputError, match="exactly one of variables and checkpoint"):
        Harmonizer(model, variables=variables, checkpoint=tmp_path)
    with pytest.raises(InputError, match="give model="):
        Harmonizer(variables=variables)
    with pytest.raises(InputError, match=r"does not fit model 'phnet_ffhqh': \d+ missing"):
        Harmonizer("phnet_ffhqh", variables=variables)
    with pytest.raises(InputError, match="no weights at"):
        Harmonizer(checkpoint=tmp_path / "nowhere")
    with pytest.raises(InputError, match="convert it first"):
        Harmonizer(checkpoint=tmp_path / "official.pth")
    save_weights(tmp_path / "w", "pih", model.config, variables)
    with pytest.raises(InputError, match="is of model pih, not phnet_ffhqh"):
        Harmonizer("phnet_ffhqh", checkpoint=tmp_path / "w")


@pytest.mark.parametrize(("size", "reason"), [(1, "at least"), (10**3 + 1, "a multiple of 8")])
def test_sizes_the_model_refuses(size, reason):
    model, variables = tiny("phnet_ffhqh")
    with pytest.raises(InputError, match=reason):
        Harmonizer(model, variables=variables, size=size)


def test_strength_outside_0_to_1_is_refused():
    with pytest.raises(InputError, match=r"strength 1\.5"):
        harmonizer("pih")(*example("pih", 90, 70)[:2], strength=1.5)

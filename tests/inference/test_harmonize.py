"""Every registered model, small and randomly initialized, on images that are not its size."""

import contextlib
import dataclasses
import functools
import threading

import cv2
import jax
import numpy as np
import pytest
from imagecodecs import cms_profile
from support.inference_cases import example, harmonizer, tiny
from support.tiers import first_is_quick

import jaxharm
from jaxharm import registry
from jaxharm.errors import InputError
from jaxharm.images import Tags, write_image
from jaxharm.images.spaces import space_of
from jaxharm.inference import Harmonizer, harmonize
from jaxharm.inference.harmonize import load_inputs
from jaxharm.inference.loading import runner_class
from jaxharm.inference.pixel_runner import NATIVE_FACTOR, PixelRunner
from jaxharm.weights.portable import save_weights

NAMES = [name for name in registry.list_models() if name != "toy"]
PIXEL_NAMES = [name for name in NAMES if runner_class(registry.get(name)) is PixelRunner]
PARAMETRIC_NAMES = [name for name in NAMES if runner_class(registry.get(name)).parametric]


@functools.partial(jax.jit, static_argnums=0)
def apply(model, variables, composite, mask, background):
    return model.apply(variables, composite, mask, background=background, train=False)


@pytest.mark.parametrize("shape", first_is_quick([(101, 67), (131, 111), (300, 140)]))
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
    composite[..., 3] = np.maximum(composite[..., 3], 1)
    result = harmonizer(name)(composite, mask, background=background)
    np.testing.assert_array_equal(result[..., 3], composite[..., 3])
    plain = harmonizer(name)(composite[..., :3], mask, background=background)
    np.testing.assert_array_equal(result[..., :3], plain)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if not registry.get(name).needs_background][:2]
)
def test_what_alpha_hides_has_no_influence(name):
    composite, mask, _ = example(name, 101, 67, channels=4)
    composite[..., 3] = 255
    composite[:20, :, 3] = composite[40:50, 30:40, 3] = 0
    results = []
    for hidden in (0, 255):
        picture = composite.copy()
        picture[picture[..., 3] == 0, :3] = hidden
        results.append(harmonizer(name)(picture, mask))
        outside = mask == 0
        np.testing.assert_array_equal(results[-1][outside], picture[outside])
    inside = mask > 0
    np.testing.assert_array_equal(results[0][inside], results[1][inside])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", [PARAMETRIC_NAMES[0], PIXEL_NAMES[0]])
def test_another_color_space_gives_the_same_colors(tmp_path, name, dtype):
    composite, mask, _ = example(name, 101, 67)
    profile = bytes(cms_profile("adobergb"))
    space, top = space_of(profile), np.iinfo(dtype).max
    # Smooth, so that the two ways of shrinking, in one space and in the other, agree.
    unit = cv2.GaussianBlur(composite, (0, 0), 9).astype(np.float32) / 255
    stored = np.rint(space.from_srgb(unit) * top).astype(dtype)
    write_image(tmp_path / "a.tif", stored, Tags(profile))
    found = harmonizer(name)(tmp_path / "a.tif", mask)
    np.testing.assert_array_equal(found[mask == 0], stored[mask == 0])
    np.testing.assert_array_equal(harmonizer(name)(tmp_path / "a.tif", mask, strength=0.0), stored)
    plain = harmonizer(name)(np.rint(unit * 65535).astype(np.uint16), mask) / 65535
    assert np.abs(space.to_srgb(found) - plain)[mask > 0].max() < 0.03


@pytest.mark.parametrize("name", NAMES)
def test_cut_out_over_a_background(name):
    composite, mask, _ = example(name, 101, 67)
    background = 255 - composite
    cutout = np.dstack([composite, np.rint(mask * 255).astype(np.uint8)])
    result = harmonizer(name)(cutout, background=background)
    assert result.shape == (101, 67, 3)
    outside = cutout[..., 3] == 0
    np.testing.assert_array_equal(result[outside], background[outside])


@pytest.mark.slow
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
    plate = None if background is None else background[::-1]
    behind = None if plate is None else plate[None]
    output = apply(model, variables, composite[None], mask[None, ..., None], behind)
    result = harmonizer(name)(composite, mask, background=plate)
    expected = np.asarray(output.image[0])
    np.testing.assert_allclose(result[mask > 0], expected[mask > 0], atol=2e-6)


@pytest.mark.slow
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
    name = PIXEL_NAMES[0]
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


def test_weights_are_never_made_up(tmp_path):
    name, other = PIXEL_NAMES[:2]
    composite, mask, _ = example(name, 90, 70)
    with pytest.raises(InputError, match="weights are missing: give checkpoint= or variables="):
        harmonize(composite, mask, model=name)
    model, variables = tiny(name)
    with pytest.raises(InputError, match="give variables or checkpoint, not both"):
        Harmonizer(model, variables=variables, checkpoint=tmp_path)
    with pytest.raises(InputError, match="give model="):
        Harmonizer(variables=variables)
    with pytest.raises(InputError, match=rf"does not fit model '{other}': \d+ missing"):
        Harmonizer(other, variables=variables)
    with pytest.raises(InputError, match="no weights at"):
        Harmonizer(checkpoint=tmp_path / "nowhere")
    with pytest.raises(InputError, match="convert it first"):
        Harmonizer(checkpoint=tmp_path / "official.pth")
    save_weights(tmp_path / "w", name, model.config, variables)
    with pytest.raises(InputError, match=f"is of model {name}, not {other}"):
        Harmonizer(other, checkpoint=tmp_path / "w")


@pytest.mark.parametrize(("size", "reason"), [(1, "at least"), (10**3 + 1, "a multiple of")])
def test_sizes_the_model_refuses(size, reason):
    name = next(name for name in PIXEL_NAMES if tiny(name)[0].config.size_multiple > 1)
    model, variables = tiny(name)
    with pytest.raises(InputError, match=reason):
        Harmonizer(model, variables=variables, size=size)


@pytest.mark.parametrize("name", [PIXEL_NAMES[0], *PARAMETRIC_NAMES[-1:]])
def test_files_checkpoint_and_warm_up(tmp_path, name):
    model, variables = tiny(name)
    save_weights(tmp_path / "weights", name, model.config, variables)
    composite, mask, _ = example(name, 90, 70)
    write_image(tmp_path / "a.png", composite)
    write_image(tmp_path / "m.png", np.rint(mask[..., None] * 65535).astype(np.uint16))
    from_files = jaxharm.harmonize(
        tmp_path / "a.png", str(tmp_path / "m.png"), checkpoint=tmp_path / "weights"
    )
    run = Harmonizer(checkpoint=tmp_path / "weights")
    assert run.name == name
    run.warm_up(90, 70)
    rounded = np.rint(mask * 65535).astype(np.uint16)
    np.testing.assert_array_equal(run(composite, rounded), from_files)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_those_of_the_model_by_class_or_by_field(name):
    composite, mask, background = example(name, 101, 67)
    run = harmonizer(name)
    kind = run.runner.Options
    fields = [field.name for field in dataclasses.fields(kind)]
    plain = run(composite, mask, background=background)
    result = run(composite, mask, background=background, options=kind())
    np.testing.assert_array_equal(result, plain)
    valid = ", ".join(fields) or "none but strength"
    with pytest.raises(
        InputError, match=f"unknown option nonsense of model '{run.name}'; valid: {valid}"
    ):
        run(composite, mask, background=background, nonsense=1)
    with pytest.raises(InputError, match=f"are of class {kind.__name__}, not dict"):
        run(composite, mask, background=background, options={})
    if fields:
        given = {fields[0]: getattr(kind(), fields[0])}
        result = run(composite, mask, background=background, **given)
        np.testing.assert_array_equal(result, plain)
        with pytest.raises(InputError, match=f"either options= or {fields[0]}, not both"):
            run(composite, mask, background=background, options=kind(), **given)


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_is_applied_as_in_one_call_and_stages_are_timed(name):
    composite, mask, background = example(name, 101, 67)
    stages = []

    def timer(stage):
        stages.append(stage)
        return contextlib.nullcontext()

    model, variables = tiny(name)
    run = Harmonizer(model, variables=variables, timer=timer)
    whole = run(composite, mask, background=background)
    assert stages == ["prepare", "predict", "render"]
    runner, inputs = run.runner, load_inputs(composite, mask, background)
    options = runner.Options()
    prediction = runner.predict(runner.prepare(inputs, options), options)
    np.testing.assert_array_equal(runner.apply(inputs, prediction, 1.0, options), whole)
    with pytest.raises(InputError, match=r"strength 1\.5"):
        run(composite, mask, background=background, strength=1.5)


@pytest.mark.parametrize("name", PIXEL_NAMES)
def test_pixel_models_have_nothing_to_keep(name):
    composite, mask, background = example(name, 64, 96)
    run = harmonizer(name)
    with pytest.raises(InputError, match=f"{run.name} predicts pixels: it has no parameters"):
        run.predict(composite, mask, background=background)

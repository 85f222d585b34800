"""ProPIH: sizes, masks, options, entry points, bad input; the strips of the official release."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from support.random_variables import random_weights

from jaxharm import convert, registry
from jaxharm.errors import InputError
from jaxharm.papers.propih.model import STAGES, ProPIH, ProPIHConfig, stage_macs
from jaxharm.papers.propih.vgg import COLLECTION

RNG = np.random.default_rng(2)
MODEL = ProPIH(ProPIHConfig.tiny())
apply = jax.jit(MODEL.apply, static_argnames=("train", "method", "number"))


def images(height=24, width=32, count=2):
    composite, painting = RNG.random((2, count, height, width, 3), np.float32)
    mask = np.zeros((count, height, width, 1), np.float32)
    mask[:, 6:20, 5:21] = 1
    mask[:, 5] = 0.3
    return composite, mask, painting


@pytest.fixture(scope="module")
def variables():
    return random_weights("propih", MODEL.config)


def test_outputs_of_any_size_and_their_names(variables):
    composite, mask, painting = images()
    out = apply(variables, composite, mask, painting)
    assert out.image.shape == composite.shape
    assert set(out.aux) == {"raw", "stages", "coarse"}
    assert out.aux["stages"].shape == out.aux["coarse"].shape == (STAGES, *composite.shape)
    np.testing.assert_allclose(out.image, np.clip(out.aux["stages"][-1], 0, 1), atol=1e-6)
    blended = np.asarray(out.aux["coarse"]) * mask + painting * (1 - mask)
    np.testing.assert_allclose(out.aux["stages"], blended, atol=1e-6)
    outside = mask[..., 0] == 0
    np.testing.assert_array_equal(out.image[outside], painting[outside])


def test_every_sample_stands_alone(variables):
    arrays = images()
    whole = apply(variables, *arrays).aux["stages"]
    for i in range(2):
        alone = apply(variables, *(a[i : i + 1] for a in arrays)).aux["stages"]
        np.testing.assert_allclose(alone[:, 0], whole[:, i], atol=1e-5)


def test_a_thin_object_may_vanish_at_the_coarse_stages(variables):
    composite, mask, painting = images()
    thin = np.zeros_like(mask)
    thin[:, 3, 3] = 1
    for region in (thin, np.zeros_like(mask), np.ones_like(mask)):
        out = apply(variables, composite, region, painting)
        assert bool(jnp.isfinite(out.aux["stages"]).all())


def test_the_result_of_a_stage_needs_no_later_one(variables):
    arrays = images()
    stages = apply(variables, *arrays).aux["stages"]
    out = apply(variables, *arrays, number=2, method="until_stage")
    np.testing.assert_allclose(out.image, np.clip(stages[1], 0, 1), atol=1e-6)
    with pytest.raises(InputError, match="stages 1 to 4"):
        MODEL.apply(variables, *arrays, number=5, method="until_stage")


@pytest.mark.slow
def test_later_parameters_do_not_touch_an_earlier_stage(variables):
    arrays = images()

    for detach in (True, False):
        model = ProPIH(dataclasses.replace(MODEL.config, detach_previous=detach))

        @jax.jit
        def gradient(params, model=model):
            def last(params):
                out = model.apply({**variables, "params": params}, *arrays)
                return jnp.sum(jnp.square(out.aux["stages"][-1]))

            return jax.grad(last)(params)

        params = jax.tree.map(jnp.abs, variables["params"])  # no unit is dead
        for name, leaves in gradient(params).items():
            largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(leaves))
            used = name.endswith("4") or (not detach and not name.startswith("head"))
            assert (largest > 0) == used, name


@pytest.mark.parametrize("changed", [{"vgg_input_range": "0_1"}, {"style_region": "background"}])
def test_every_option_changes_the_result(variables, changed):
    arrays = images()
    model = ProPIH(dataclasses.replace(MODEL.config, **changed))
    first = apply(variables, *arrays).aux["stages"]
    other = jax.jit(model.apply)(variables, *arrays).aux["stages"]
    assert np.abs(first - other).max() > 1e-3


def test_macs_are_those_of_the_specification():
    billions = [n / 1e9 for n in stage_macs(ProPIHConfig(), 256, 256)]
    np.testing.assert_allclose(billions, [1.442, 12.690, 13.898, 24.769], atol=6e-4)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"height": 20}, "multiples of 8 and at least 16, not 20x32"),
        ({"width": 8}, "multiples of 8 and at least 16, not 24x8"),
    ],
)
def test_sizes_that_do_not_fit_are_named(variables, sizes, message):
    with pytest.raises(InputError, match=message):
        MODEL.apply(variables, *images(**sizes))


def test_missing_and_misshapen_images_are_named(variables):
    composite, mask, painting = images()
    with pytest.raises(InputError, match="needs the painting"):
        MODEL.apply(variables, composite, mask)
    with pytest.raises(InputError, match="they must have one size"):
        MODEL.apply(variables, composite, mask, painting[:, :16])
    with pytest.raises(InputError, match="mask"):
        MODEL.apply(variables, composite, mask[:, :16], painting)
    with pytest.raises(InputError, match="even number"):
        registry.create_model("propih", width=3)


def test_the_encoder_is_no_parameter(variables):
    assert set(variables) == {"params", COLLECTION}
    assert not any(name.startswith("enc") for name in variables["params"])
    with pytest.raises(InputError, match="no exit head"):
        convert.from_torch("propih", {}, exit_head=True)


def test_official_strips_need_no_weights(shared):
    """Composite, painting and every background pixel of the published results, bit for bit."""
    folder = shared / "data/propih_examples"
    names = sorted(path.stem for path in (folder / "comp").iterdir())
    assert len(names) == 8
    for name in names:
        comp, style, mask = (load(folder / kind, name) for kind in ("comp", "style", "mask"))
        strip = np.asarray(
            Image.open(next((folder / "output_png").glob(f"{name}*"))).convert("RGB")
        )
        panels = np.split(strip, strip.shape[1] // 256, 1)
        comp, style, share = map(there_and_back, (comp, style, mask[..., :1]))
        pasted = comp * share + style * (1 - share)
        np.testing.assert_array_equal(truncated(pasted), panels[0], err_msg=name)
        np.testing.assert_array_equal(truncated(style), panels[2], err_msg=name)
        outside = mask[..., 0] == 0
        for panel in panels[3:]:
            np.testing.assert_array_equal(panel[outside], panels[2][outside], err_msg=name)


def load(folder, name):
    picture = Image.open(next(folder.glob(f"{name}.*"))).convert("RGB")
    return np.asarray(picture.resize((256, 256), Image.Resampling.BILINEAR))


def signed(unit):
    half = np.float32(0.5)
    return (unit - half) / half


def there_and_back(pixels):
    """What the official loader makes of 8 bits: [-1,1], then [0,1] for the pasting, in float32."""
    return (signed(pixels.astype(np.float32) / np.float32(255)) + 1) / 2


def truncated(unit):
    """As the official code stores results: docs/papers/propih.md, "What we decided"."""
    return np.clip((signed(unit) + 1) / 2 * np.float32(255), 0, 255).astype(np.uint8)

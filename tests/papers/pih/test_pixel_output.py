"""PIH's losses on a network that gives pixels: the network, its sizes, a step, a picture."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import random_variables

from jaxharm import registry
from jaxharm.config_file import load_config
from jaxharm.errors import InputError
from jaxharm.inference import Harmonizer
from jaxharm.papers.pih.pixel_output import PIHPixels, PIHPixelsConfig
from jaxharm.registry import make_system
from jaxharm.schema import Batch
from jaxharm.weights.portable import save_weights

TINY = PIHPixelsConfig.tiny()


def inputs(count=2, size=(64, 64)):
    rng = np.random.default_rng(0)
    images = [jnp.asarray(rng.random((count, *size, 3)), jnp.float32) for _ in range(2)]
    return images[0], jnp.asarray(rng.random((count, *size, 1)), jnp.float32), images[1]


def test_parameters_are_counted_right():
    image, mask = (jax.ShapeDtypeStruct((1, 512, 512, c), jnp.float32) for c in (3, 1))
    model = PIHPixels(PIHPixelsConfig())
    tree = jax.eval_shape(model.init, jax.random.key(0), image, mask, image)
    total = sum(leaf.size for leaf in jax.tree.leaves(tree["params"]))
    assert total == registry.get("pih_pixels").parameters


@pytest.mark.parametrize("folder", ["artist_retouched", "minibsds"])
def test_the_overlay_keeps_the_sizes_of_the_shading_net(folder):
    plain, pixels = (load_config(f"pih/{folder}", o) for o in ([], ["pixel_output"]))
    assert pixels.system == "pih_pixels"
    assert pixels.model.strides == plain.model.strides
    assert pixels.model.width == (8 if plain.model.light else 32)
    assert pixels.model.default_size == plain.model.default_size
    assert pixels.objective == plain.objective
    assert pixels.data == plain.data


@pytest.mark.slow
def test_a_step_trains_every_layer_and_an_untrained_one_can_be_the_identity():
    composite, mask, background = inputs()
    config = load_config("pih/artist_retouched", ["pixel_output", "no_discriminator", "smoke"])
    system = make_system(config, total_steps=10)
    batch = Batch(composite, mask, background, index=jnp.arange(2))
    state = jax.jit(system.init)(jax.random.key(0), batch)
    after, metrics = jax.jit(lambda s, b: system.step(s, b, axis_name=None))(state, batch)
    assert float(metrics["loss"][0]) > 0
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), state.params, after.params)
    assert all(jax.tree.leaves(moved))
    still = PIHPixels(dataclasses.replace(TINY, residual_output=True))
    variables = still.init(jax.random.key(0), composite, mask)
    np.testing.assert_allclose(still.apply(variables, composite, mask).image, composite, atol=1e-6)


def test_pictures_of_any_size_come_out_with_their_background(tmp_path):
    composite, mask, _ = inputs(1)
    save_weights(tmp_path, "pih_pixels", TINY, random_variables(PIHPixels(TINY), composite, mask))
    run = Harmonizer(checkpoint=tmp_path)
    picture = np.asarray(255 * inputs(1, (101, 67))[0][0]).astype(np.uint8)
    region = np.zeros((101, 67), np.float32)
    region[20:60, 10:50] = 1
    result = run(picture, region)
    assert result.shape == picture.shape
    np.testing.assert_array_equal(result[region == 0], picture[region == 0])
    assert (result[region == 1] != picture[region == 1]).mean() > 0.5


def test_images_and_batches_that_are_too_small_are_refused():
    composite, mask, _ = inputs(1)
    model = PIHPixels(TINY)
    variables = random_variables(model, composite, mask)
    with pytest.raises(InputError, match="batches of at least 2 images"):
        model.apply(variables, composite, mask, train=True, mutable=["batch_stats"])
    with pytest.raises(InputError, match=f"at least {TINY.min_size} pixels, not 32x64"):
        model.apply(variables, composite[:, :32], mask[:, :32])
    with pytest.raises(InputError, match="six strides"):
        PIHPixelsConfig(strides=(2, 2))

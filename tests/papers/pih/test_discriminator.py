"""PIH's discriminator: the goldens in both modes, its size, what its options do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.pih.golden_case import allowed, discriminator_variables, state_dict
from support.goldens import load_layout
from support.random_variables import random_variables

from jaxharm.errors import InputError
from jaxharm.papers.pih.convert import discriminator_names
from jaxharm.papers.pih.discriminator import PIHDiscriminator, PIHDiscriminatorConfig
from jaxharm.papers.pih.spectral_norm import spectral_norm
from jaxharm.weights import name_map


@functools.cache
def model(config=PIHDiscriminatorConfig()):  # noqa: B008
    """The module and its compiled `apply`."""
    module = PIHDiscriminator(config)

    @functools.partial(jax.jit, static_argnames=("train", "capture"))
    def run(variables, image, train=False, capture=False):
        mutable = ["spectral"] if train else ["intermediates"] if capture else False
        out = module.apply(
            variables, image, train=train, mutable=mutable, capture_intermediates=capture
        )
        return out if mutable else (out, {})

    return module, run


@pytest.mark.golden
def test_golden_of_both_modes(shared):
    folder = shared / "golden/pih"
    golden = np.load(folder / "discriminator.npz")
    variables = discriminator_variables(state_dict("discriminator"))
    image = np.load(folder / "generator.npz")["composite_u8"][None] / np.float32(255)
    _, run = model()
    logits, captured = run(variables, image, capture=True)
    np.testing.assert_allclose(
        logits[:, ::4, ::4], golden["logits_eval"], **allowed(folder, "D.logits_eval")
    )
    layers = captured["intermediates"]
    names = [name.removeprefix("act.") for name in golden.files if name.startswith("act.")]
    assert set(names) == set(layers) - {"conv9", "__call__"}
    for name in names:
        value = layers[name]["__call__"][0]
        value = value[:, :: max(1, value.shape[2] // 16), :: max(1, value.shape[2] // 16), :8]
        tolerance = allowed(folder, f"D.act.{name}")
        np.testing.assert_allclose(value, golden[f"act.{name}"], **tolerance, err_msg=name)

    for call in (1, 2):
        logits, updated = run(variables, image, train=True)
        variables = {**variables, **updated}
        key = f"logits_train_{call}"
        np.testing.assert_allclose(logits[:, ::4, ::4], golden[key], **allowed(folder, f"D.{key}"))
    for name, state in variables["spectral"].items():
        sigma = spectral_norm(variables["params"][name]["kernel"], state["u"], state["v"])
        key = f"sigma_after2.{name}"
        np.testing.assert_allclose(sigma, golden[key], **allowed(folder, f"D.{key}"))
    for name in ("conv1", "conv3_3", "conv8"):
        key = f"{name}.weight_u_after2"
        np.testing.assert_allclose(
            variables["spectral"][name]["u"], golden[key], **allowed(folder, f"D.{key}")
        )


def test_parameter_count_is_exact_without_dead_ones():
    module, _ = model()
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: module.init(key, x, train=True), jax.random.key(0), image
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert count == load_layout("pih")["parameter_counts"]["discriminator"]
    vectors = shapes["spectral"]
    assert set(shapes["params"]) - set(vectors) == {"conv0", "conv9"}
    assert vectors["conv1"]["u"].shape == (32,)
    assert vectors["conv1"]["v"].shape == (4, 4, 16)


@pytest.fixture(scope="module")
def tiny():
    module, run = model(PIHDiscriminatorConfig.tiny())
    image = np.random.default_rng(0).random((2, 70, 64, 3), np.float32)
    variables = random_variables(module, image, train=True)
    return run, variables, image


@pytest.mark.slow
def test_gradient_reaches_every_parameter_and_the_image(tiny):
    run, variables, image = tiny

    def objective(params, image):
        logits, _ = run({**variables, "params": params}, image, train=True)
        return jnp.sum(jnp.square(logits - 1))

    gradients = jax.jit(jax.grad(objective, (0, 1)))(variables["params"], image)
    for leaf in jax.tree.leaves(gradients):
        assert np.abs(leaf).max() > 0


@pytest.mark.slow
def test_only_training_moves_the_vectors_and_whatever_the_image(tiny):
    run, variables, image = tiny
    logits, _ = run(variables, image)
    assert logits.shape == (2, 70, 64, 1)
    _, first = run(variables, image, train=True)
    _, other = run(variables, image[::-1] * 0.5, train=True)
    jax.tree.map(np.testing.assert_array_equal, first["spectral"], other["spectral"])
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), first["spectral"], variables["spectral"])
    assert min(jax.tree.leaves(moved)) > 0
    for vector in jax.tree.leaves(first["spectral"]):
        np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-5)


def test_norm_converges_to_the_first_singular_value(tiny):
    run, variables, image = tiny
    for _ in range(60):
        _, updated = run(variables, image, train=True)
        variables = {**variables, **updated}
    for name, state in variables["spectral"].items():
        kernel = np.asarray(variables["params"][name]["kernel"])
        exact = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2)
        sigma = spectral_norm(kernel, state["u"], state["v"])
        assert 0.97 * exact < sigma < exact * (1 + 1e-5), name


def test_strides_follow_the_image():
    config = PIHDiscriminatorConfig()
    assert config.min_size == 64
    assert config.strides_for(512) == config.strides_for(470) == (4, 4, 4, 2, 2, 2)
    assert config.strides_for(469) == config.strides_for(236) == (2, 4, 4, 2, 2, 2)
    assert config.strides_for(235) == config.strides_for(120) == (2, 2, 4, 2, 2, 2)
    assert config.strides_for(119) == config.strides_for(64) == (2,) * 6
    with pytest.raises(InputError, match="images of at least 64 pixels, not 63"):
        config.strides_for(63)
    with pytest.raises(InputError, match="at least 470 pixels, not 256"):
        PIHDiscriminatorConfig(strides=(4, 4, 4, 2, 2, 2)).strides_for(256)
    with pytest.raises(InputError, match="six strides are needed"):
        PIHDiscriminatorConfig(strides=(2, 2))


@pytest.mark.slow  # draws 17 million numbers
def test_official_weights_come_back():
    official = state_dict("discriminator")
    template = {name: np.zeros_like(value) for name, value in official.items()}
    variables = discriminator_variables(official)
    found = name_map.state_dict(discriminator_names(), variables, template)
    for name, value in official.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)

"""ProPIH's system: the frozen encoder, options of the losses, what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.contexts import context
from support.system_cases import tiny_batch, tiny_config

from jaxharm.config import OptimConfig
from jaxharm.errors import InputError
from jaxharm.interfaces import Extras
from jaxharm.papers.propih.convert import load_encoder
from jaxharm.papers.propih.discriminator import ProPIHDiscriminatorConfig, object_cells
from jaxharm.papers.propih.painterly import image_errors, targets_of
from jaxharm.papers.propih.vgg import COLLECTION
from jaxharm.registry import make_system
from jaxharm.training.optim import make_schedule
from jaxharm.training.supervised import NETWORK
from jaxharm.weights.portable import save_weights
from jaxharm.weights.tensor_file import tensor_bytes

# (index, channels in, channels out, side) of the flat VGG-19 at the width of the tiny model.
LAYERS = (
    *((0, 3, 3, 1), (2, 3, 8, 3), (5, 8, 8, 3), (9, 8, 16, 3), (12, 16, 16, 3), (16, 16, 32, 3)),
    *((19, 32, 32, 3), (22, 32, 32, 3), (25, 32, 32, 3), (29, 32, 64, 3)),
)


def config(*, model=None, **objective):
    base = tiny_config("propih", batch_size=2)
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, **(model or {})),
        objective=dataclasses.replace(base.objective, **objective),
    )


@functools.cache
def first_state():
    system = make_system(config(), total_steps=10)
    return jax.jit(system.init)(jax.random.key(0), tiny_batch(config()))


@pytest.mark.slow
def test_options_of_the_losses_change_what_they_name():
    runs = {
        "plain": config(),
        "style": config(content_weight=0.0),
        "content": config(style_weight=0.0),
        "all_layers": config(style_layers="all"),
        "final": config(supervise_coarse=False),
        "last": config(supervise_stages=(4,), model={"detach_previous": False}),
    }
    systems = {name: make_system(run, total_steps=10) for name, run in runs.items()}
    state, batch = first_state(), tiny_batch(config())
    plain = systems["plain"]

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def losses(state):
        prepared = plain.prepare(batch)
        networks = state.params[NETWORK], state.collections[NETWORK]
        output, _ = plain.forward(context(key=state.key), *networks, prepared)
        encoder = networks[1][COLLECTION]
        painting = prepared.background
        perfect = targets_of(output, jnp.ones_like(prepared.mask), encoder)
        content, style = image_errors(plain.module(), painting, perfect)
        given = context(), output, prepared, Extras(None, encoder)
        found = {name: system.loss(*given) for name, system in systems.items()}
        return found, jnp.max(style), jnp.min(content)

    found, no_style, some_content = losses(state)
    value = {name: float(total) for name, (total, _) in found.items()}
    assert value["style"] < value["plain"] < value["all_layers"]
    assert value["style"] + value["content"] == pytest.approx(value["plain"], rel=1e-5)
    assert value["final"] < value["plain"]
    total, count = found["plain"][1]["stage4_loss"]
    assert value["last"] == pytest.approx(float(total / count), rel=1e-5)
    # The painting itself has the painting's style everywhere, but not the object's content.
    assert float(no_style) < 1e-10 < float(some_content)


@pytest.mark.slow
def test_the_average_leaves_the_encoder_out():
    run = dataclasses.replace(config(discriminator=None), ema_decay=0.9)
    system = make_system(run, total_steps=10)
    state = jax.eval_shape(system.init, jax.random.key(0), tiny_batch(run))
    assert set(state.ema[NETWORK]) == {"params"}
    assert set(system.variables(state)) == {"params", COLLECTION}
    after, _ = jax.eval_shape(
        functools.partial(system.step, axis_name=None), state, tiny_batch(run)
    )
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize("pixels", [100, 101])
def test_a_cell_with_more_than_100_full_pixels_holds_an_object(pixels):
    mask = np.full((1, 256, 256, 1), 254 / 255, np.float32)
    mask.reshape(-1)[: 256 * 64].reshape(64, 256)[:10, 64:74] = 1
    mask[0, 20, 64, 0] = pixels > 100
    cells = np.asarray(object_cells(jnp.asarray(mask), ProPIHDiscriminatorConfig()))[0, ..., 0]
    expected = np.zeros((4, 4))
    expected[0, 1] = pixels > 100
    np.testing.assert_array_equal(cells, expected)


def test_the_share_of_a_cell_that_makes_an_object_can_be_set():
    mask = np.zeros((1, 64, 64, 1), np.float32)
    mask[0, :16, :8] = 1  # half of the first of 4x4 cells
    options = ProPIHDiscriminatorConfig(halvings=4, object_share=0.4)
    for share, holds in ((0.4, True), (0.6, False)):
        chosen = dataclasses.replace(options, object_share=share)
        cells = object_cells(jnp.asarray(mask), chosen)
        assert bool(cells[0, 0, 0, 0]) == holds
        assert float(cells.sum()) == float(holds)


def test_the_discriminator_statistics_can_be_those_of_a_device():
    for statistics, axis in (("global", "data"), ("per_device", None)):
        system = make_system(config(discriminator_statistics=statistics), total_steps=10)
        assert system.discriminator("data").axis_name == axis


@pytest.mark.slow
def test_the_adversarial_term_is_weighted():
    state, batch = first_state(), tiny_batch(config())

    def discriminate(collections, image):
        return jnp.mean(image, (1, 2, 3), keepdims=True), collections

    systems = [make_system(config(adversarial_weight=w), total_steps=10) for w in (0.0, 2.0)]

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def losses(state):
        prepared = systems[0].prepare(batch)
        networks = state.params[NETWORK], state.collections[NETWORK]
        output, _ = systems[0].forward(context(key=state.key), *networks, prepared)
        given = discriminate, {}, output, prepared, Extras(None, networks[1][COLLECTION])
        return [system.generator_loss(context(), *given) for system in systems]

    (without, (_, terms)), (double, _) = losses(state)
    added = 2 * float(terms["adversarial_loss"][0])
    assert added > 1e-3
    assert float(double - without) == pytest.approx(added, rel=1e-3)


def test_learning_rate_of_the_official_epochs():
    """1 up to epoch 20, then 10/11, 9/11 ... 1/11 (docs/papers/propih.md, "Training")."""
    optim = OptimConfig(lr=1.0, schedule="stairs", milestones=tuple(e / 30 for e in range(20, 30)))
    schedule = make_schedule(optim, 300)
    for epoch in range(1, 31):
        expected = 1 - max(0, epoch - 20) / 11
        for step in (10 * (epoch - 1), 10 * epoch - 1):
            assert float(schedule(step)) == pytest.approx(expected, abs=1e-6)


# The encoder -----------------------------------------------------------------------------


def flat_vgg(layers=LAYERS):
    rng = np.random.default_rng(0)
    state = {}
    for index, channels, features, side in layers:
        shape = (features, channels, side, side)
        state[f"{index}.weight"] = rng.normal(size=shape).astype(np.float32)
        state[f"{index}.bias"] = rng.normal(size=features).astype(np.float32)
    return state


def test_torch_and_safetensors_hold_the_same_encoder(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an optional extra")
    state = flat_vgg()
    (tmp_path / "vgg.safetensors").write_bytes(tensor_bytes(state))
    torch.save({k: torch.from_numpy(v) for k, v in state.items()}, tmp_path / "vgg.pth")
    encoders = [load_encoder(tmp_path / f"vgg.{kind}", 8) for kind in ("pth", "safetensors")]
    jax.tree.map(np.testing.assert_array_equal, *encoders)


@pytest.mark.slow
def test_training_starts_with_the_encoder_of_the_file(tmp_path):
    state = flat_vgg()
    (tmp_path / "vgg.safetensors").write_bytes(tensor_bytes(state))
    run = config(random_encoder=False, encoder=str(tmp_path / "vgg.safetensors"))
    system = make_system(run, total_steps=10)
    encoder = system.with_pretrained(first_state()).collections[NETWORK][COLLECTION]
    kernel = state["29.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(encoder["enc4"]["conv4_1"]["kernel"], kernel)
    np.testing.assert_array_equal(encoder["enc1"]["pre"]["bias"], state["0.bias"])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (LAYERS[:-1], r"2 layers missing \(29.bias, 29.weight\)"),
        ((*LAYERS, (30, 3, 3, 3)), r"2 unknown \(30.bias, 30.weight\)"),
        ((*LAYERS[:-1], (29, 32, 32, 3)), r"conv4_1\) is \[32, 32, 3, 3\], not \[64, 32, 3, 3\]"),
    ],
)
def test_files_of_other_networks_are_refused(tmp_path, layers, message):
    (tmp_path / "vgg.safetensors").write_bytes(tensor_bytes(flat_vgg(layers)))
    with pytest.raises(InputError, match=message):
        load_encoder(tmp_path / "vgg.safetensors", 8)


def test_training_without_an_encoder_is_refused(tmp_path):
    system = make_system(config(random_encoder=False), total_steps=10)
    with pytest.raises(InputError, match=r"set objective\.encoder to vgg_normalised\.pth"):
        system.with_pretrained(jax.eval_shape(system.init, jax.random.key(0), tiny_batch(config())))
    with pytest.raises(InputError, match="does not exist: put vgg_normalised"):
        load_encoder(tmp_path / "absent.pth")
    (tmp_path / "bad.safetensors").write_bytes(b"no such thing")
    with pytest.raises(InputError, match="is damaged or no safetensors file"):
        load_encoder(tmp_path / "bad.safetensors")


@pytest.mark.slow
def test_another_encoder_than_that_of_the_checkpoint_is_told(tmp_path):
    (tmp_path / "vgg.safetensors").write_bytes(tensor_bytes(flat_vgg()))
    plain = make_system(config(), total_steps=10)
    variables = jax.device_get(plain.variables(first_state()))
    save_weights(tmp_path / "weights", "propih", plain.config.model, variables)
    run = config(random_encoder=False, encoder=str(tmp_path / "vgg.safetensors"))
    run = dataclasses.replace(run, init_from=str(tmp_path / "weights"))
    with pytest.warns(UserWarning, match="is not that of"):
        make_system(run, total_steps=10).with_pretrained(first_state())
    alone = dataclasses.replace(config(random_encoder=False), init_from=run.init_from)
    make_system(alone, total_steps=10).with_pretrained(first_state())


def test_stages_that_could_not_learn_are_refused():
    with pytest.raises(InputError, match="an integer from 1 to 4"):
        config(supervise_stages=(0, 4))
    with pytest.raises(InputError, match="supervise_stages is empty"):
        make_system(config(supervise_stages=()), total_steps=10)
    with pytest.raises(InputError, match="nothing to learn from to stage 1, 2, 3"):
        make_system(config(supervise_stages=(4,)), total_steps=10)
    undetached = config(supervise_stages=(1, 2, 3), model={"detach_previous": False})
    with pytest.raises(InputError, match="nothing to learn from to stage 4"):
        make_system(undetached, total_steps=10)


def test_smaller_images_have_smaller_cells():
    base = config()
    data = dataclasses.replace(base.data, image_size=96)
    with pytest.raises(InputError, match="images of 96 pixels a side"):
        make_system(dataclasses.replace(base, data=data), total_steps=10)
    assert ProPIHDiscriminatorConfig().fitted(256) == ProPIHDiscriminatorConfig()
    assert ProPIHDiscriminatorConfig().fitted(64).size == 64


def test_data_without_paintings_and_other_sizes_are_refused():
    system = make_system(config(), total_steps=10)
    batch = tiny_batch(config())
    with pytest.raises(InputError, match="these data have none"):
        system.prepare(batch.replace(background=None))
    judge = system.discriminator()
    with pytest.raises(InputError, match="takes 64x64 images, not 32x64"):
        judge.init(jax.random.key(0), jnp.zeros((1, 32, 64, 3)))

"""PIH's training: its losses, the plate it makes up, the choice between the two streams."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.contexts import context
from support.system_cases import tiny_system

from jaxharm.config import OptimConfig, TrainConfig
from jaxharm.errors import InputError
from jaxharm.interfaces import Extras, Output, TrainState
from jaxharm.papers.pih.discriminator import PIHDiscriminatorConfig
from jaxharm.papers.pih.model import PIHConfig
from jaxharm.papers.pih.plate import fill_plate
from jaxharm.papers.pih.system import AdversarialConfig, PIHObjective, PIHSystem, Stream
from jaxharm.schema import Batch, Pair
from jaxharm.training.updates import Network, Tag, step_key

CONFIG = TrainConfig(
    system="pih_light",
    # Two kinds of block are left out: this file is about losses.
    model=dataclasses.replace(PIHConfig.tiny(light=True), identity_start=True, curve_blocks=(0, 3)),
    objective=PIHObjective(),
    optim=OptimConfig(name="adam", lr=3e-3),
    steps=10,
)


def system(**objective):
    config = dataclasses.replace(CONFIG, objective=PIHObjective(**objective))
    return PIHSystem.from_config(config, total_steps=10)


def batch(count=4, side=64, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.2, 0.8, (count, 4, 4, 3))
    target = np.kron(coarse, np.ones((1, side // 4, side // 4, 1)))
    mask = np.zeros((count, side, side, 1), np.float32)
    mask[:, 10:40, 12:50] = 1
    composite = np.where(mask > 0, 0.6 * target, target)
    return Batch(
        composite=np.round(255 * composite).astype(np.uint8),
        target=np.round(255 * target).astype(np.uint8),
        mask=mask,
        index=np.arange(count, dtype=np.int32),
    )


def test_missing_plate_is_filled_and_a_given_one_kept():
    data = batch()
    prepared = jax.jit(system().prepare)(data)
    expected = jax.jit(fill_plate)(data.composite / np.float32(255), data.mask)
    np.testing.assert_allclose(prepared.background, expected, atol=1e-6)
    given = np.full_like(data.composite, 51)
    kept = system().prepare(data.replace(background=given)).background
    np.testing.assert_allclose(kept, 0.2, atol=1e-6)


@pytest.mark.parametrize("name", ["l1", "l1_foreground", "fnmse"])
def test_losses_equal_their_definitions(name):
    rng = np.random.default_rng(0)
    image, target = rng.random((2, 3, 16, 16, 3), np.float32)
    mask = np.zeros((3, 16, 16, 1), np.float32)
    mask[0, :4, :5] = 1  # 20 pixels, below the smallest area that counts
    mask[1, :12, :10] = 1
    given = context(), Output(image=image), Batch(image, mask, target), of_stream(1.0)
    total, terms = system(reconstruction=name, min_area=50, recon_weight=0.92).loss(*given)
    error = (image - target).astype(np.float64)
    area = 3 * np.maximum(mask.sum((1, 2, 3)), 50)
    expected = {
        "l1": np.abs(error).mean(),
        "l1_foreground": ((np.abs(error) * mask).sum((1, 2, 3)) / area).mean(),
        "fnmse": ((error**2).sum((1, 2, 3)) / area).mean(),
    }[name]
    np.testing.assert_allclose(total, 0.92 * expected, rtol=1e-5)
    numerator, count = terms[f"{name}_loss"]
    np.testing.assert_allclose(numerator / count, expected, rtol=1e-5)


@pytest.mark.slow
def test_ten_steps_learn_to_brighten():
    """The foreground is 40 % too dark in every image: curves can undo that."""
    trained = system(reconstruction="fnmse")
    data = batch()
    state = jax.jit(trained.init)(jax.random.key(0), data)
    step = jax.jit(lambda state: trained.step(state, data, axis_name=None))
    losses = []
    for _ in range(10):
        state, metrics = step(state)
        total, count = metrics["fnmse_loss"]
        losses.append(float(total / count))
    assert int(state.step) == 10
    assert losses[-1] < 0.5 * losses[0], losses


# The two streams ----------------------------------------------------------------------------


def two_streams(**options):
    judge = PIHDiscriminatorConfig.tiny()
    return system(adversarial=AdversarialConfig(discriminator=judge, **options))


def both(plate=None, unpaired_plate=None, count=4):
    data = batch(count)
    plates = [
        None if value is None else np.full_like(data.composite, value)
        for value in (plate, unpaired_plate)
    ]
    other = Pair(255 - data.composite, np.ascontiguousarray(data.mask[:, ::-1]), plates[1])
    return data.replace(background=plates[0], unpaired=other)


def of_stream(supervised):
    return Extras(None, Stream(jnp.float32(supervised)))


def stream_of(trained, state):
    return trained.before_loss(context(), state, None).shared.supervised


def state_at(step):
    empty = TrainState(jnp.int32(step), jax.random.key(0), {}, {}, {}, {})
    draw = float(jax.random.uniform(step_key(empty, Tag.STREAM)))
    return empty, draw


def test_streams_are_drawn_per_step_with_their_share():
    draws = [state_at(step)[1] for step in range(64)]
    assert 0.3 < np.mean(np.array(draws) < 0.5) < 0.7
    chooser = two_streams(recon_ratio=0.25)
    data = both()
    for step in range(6):
        state, draw = state_at(step)
        chosen = chooser.select_stream(state, data)
        source = data if draw < 0.25 else data.unpaired
        np.testing.assert_array_equal(chosen.composite, source.composite)
        np.testing.assert_array_equal(chosen.mask, source.mask)
        assert float(stream_of(chooser, state)) == (draw < 0.25)
        np.testing.assert_array_equal(chosen.target, data.target)
        assert chosen.unpaired is None


def test_the_case_of_the_common_tests_takes_both_streams_before_and_after_its_resume():
    trained = tiny_system("pih_light_dual")
    streams = [float(stream_of(trained, state_at(step)[0])) for step in range(4)]
    assert streams == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("plate", "unpaired_plate"), [(None, None), (51, None), (None, 204), (51, 204)]
)
def test_plate_of_each_stream(plate, unpaired_plate):
    data = both(plate, unpaired_plate)
    streams = (1.0, data, plate), (0.0, data.unpaired, unpaired_plate or plate)
    for ratio, source, own in streams:
        chooser = two_streams(recon_ratio=ratio)
        background = chooser.prepare(chooser.select_stream(state_at(0)[0], data)).background
        if own is None:
            image = source.composite / np.float32(255)
            expected = jax.jit(fill_plate)(image, source.mask)
        else:
            expected = np.full_like(background, own / 255)
        np.testing.assert_allclose(background, expected, atol=1e-5)


def test_run_without_the_second_streams_data_is_told_what_to_set():
    with pytest.raises(InputError, match=r"set data\.unpaired\.enabled=true") as caught:
        two_streams().step(state_at(0)[0], batch(), axis_name=None)
    assert "\n" not in str(caught.value)
    two_streams(recon_ratio=1.0).select_stream(state_at(0)[0], batch())


def test_options_that_contradict_are_refused():
    with pytest.raises(InputError, match=r"recon_ratio=1.5 is not a number from 0 to 1"):
        AdversarialConfig(recon_ratio=1.5)
    with pytest.raises(InputError, match="the discriminator never learns"):
        AdversarialConfig(recon_ratio=1.0, recon_with_gan=False)


def discriminate(collections, images):
    """A stand-in for the discriminator: its logit is the red channel; it counts its calls."""
    return images[..., :1], {"calls": collections["calls"] + 1}


def test_adversarial_losses_equal_their_definitions():
    trained = two_streams()
    rng = np.random.default_rng(1)
    image, target = rng.random((2, 2, 8, 8, 3), np.float32)
    mask = rng.random((2, 8, 8, 1), np.float32)

    def bce(logits, labels):
        logits, labels = np.float64(logits), np.float64(labels)
        terms = np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))
        return terms.mean()

    fake, real = bce(image[..., :1], 1 - mask), bce(target[..., :1], 1)
    for supervised in (1.0, 0.0):
        data, extras = Batch(image, mask, target), of_stream(supervised)
        given = context(), discriminate, {"calls": 0}, Output(image), data, extras
        total, (calls, _) = trained.discriminator_loss(*given)
        np.testing.assert_allclose(total, 0.08 * 0.5 * (fake + real), rtol=1e-5)
        assert calls["calls"] == 2
        total, (calls, terms) = trained.generator_loss(*given)
        expected = 0.08 * bce(image[..., :1], 1)
        expected += supervised * 0.92 * np.abs(np.float64(image) - target).mean()
        np.testing.assert_allclose(total, expected, rtol=1e-5)
        assert calls["calls"] == 1
        assert float(terms["l1_loss"][1]) == supervised * image.size


def test_discriminator_rests_in_supervised_steps_if_these_have_no_adversarial_loss():
    trained = two_streams(recon_with_gan=False)
    image = np.zeros((1, 8, 8, 3), np.float32)
    data = Batch(image, np.ones((1, 8, 8, 1), np.float32), image)
    old, new = (
        Network({"w": jnp.full(2, v)}, {"u": jnp.full(3, v)}, (jnp.full(1, v),)) for v in (0, 1)
    )
    for supervised, kept in ((1.0, old), (0.0, new)):
        extras = of_stream(supervised)
        jax.tree.map(np.testing.assert_array_equal, trained.after_step(old, new, extras), kept)
        total, _ = trained.generator_loss(
            context(), discriminate, {"calls": 0}, Output(image), data, extras
        )
        assert (float(total) > 0) == (supervised == 0)


def test_no_discriminator_is_allocated_without_the_adversarial_part():
    shapes = jax.eval_shape(system().init, jax.random.key(0), batch())
    assert set(shapes.params) == {"model"}
    shapes = jax.eval_shape(two_streams().init, jax.random.key(0), both())
    assert set(shapes.params) == {"model", "discriminator"}
    assert set(shapes.collections["discriminator"]) == {"spectral"}

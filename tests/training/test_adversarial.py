"""A model and a discriminator: the order of a step, accumulation, what each network keeps."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from support.toy_system import toy_config

from jaxharm.config import OptimConfig
from jaxharm.interfaces import Output
from jaxharm.schema import Batch
from jaxharm.training.adversarial import DISCRIMINATOR, AdversarialSystem
from jaxharm.training.supervised import NETWORK

RATE = 0.5


class Model(nn.Module):
    @nn.compact
    def __call__(self, composite, mask, background=None, *, train=False):
        del background
        calls = self.variable("batch_stats", "calls", lambda: jnp.zeros(()))
        if train and not self.is_initializing():
            calls.value = calls.value + 1
        return Output(composite + nn.Conv(3, (1, 1), name="out")(composite) * mask)


@dataclass(frozen=True)
class JudgeConfig:
    min_size: int = 4


class JudgeModule(nn.Module):
    config: JudgeConfig = JudgeConfig()

    @nn.compact
    def __call__(self, images, *, train):
        # State that every call in training changes from the weights, as a spectral norm does.
        norm = self.variable("spectral", "norm", lambda: jnp.full((), 8.0))
        conv = nn.Conv(1, (3, 3), name="conv")
        logits = conv(images) / norm.value
        if train and not self.is_initializing():
            kernel = jax.lax.stop_gradient(conv.variables["params"]["kernel"])
            norm.value = 0.5 * norm.value + 4 + jnp.mean(jnp.abs(kernel))
        return logits


class Duel(AdversarialSystem):
    """Least squares; every loss is a mean over samples."""

    def module(self, axis_name=None):
        return Model()

    def discriminator(self, axis_name=None):
        return JudgeModule()

    def discriminator_loss(self, ctx, discriminate, collections, output, batch, extras):
        fake, collections = discriminate(collections, output.image)
        real, collections = discriminate(collections, batch.target)
        total = jnp.mean(jnp.square(fake)) + jnp.mean(jnp.square(real - 1))
        return total, (collections, {})

    def generator_loss(self, ctx, discriminate, collections, output, batch, extras):
        logits, collections = discriminate(collections, output.image)
        error = jnp.mean(jnp.square(output.image - batch.target))
        return jnp.mean(jnp.square(logits - 1)) + error, (collections, {"error": (error, 1.0)})


def make(**changes):
    options = {"optim": OptimConfig(name="sgd", lr=RATE, b1=0.0), **changes}
    return Duel.from_config(toy_config(**options), total_steps=5)


def batch(count=4, side=6):
    rng = np.random.default_rng(3)
    shape = (count, side, side)
    return Batch(
        composite=rng.random((*shape, 3), np.float32),
        target=rng.random((*shape, 3), np.float32),
        mask=rng.random((*shape, 1), np.float32),
        index=np.arange(count, dtype=np.int32),
    )


def run(system, steps=1):
    data = batch()
    state = jax.jit(system.init)(jax.random.key(0), data)
    step = jax.jit(lambda state: system.step(state, data, axis_name=None))
    for _ in range(steps):
        state, metrics = step(state)
    return state, metrics


def assert_close(got, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)


def test_step_updates_the_discriminator_first_and_the_model_against_it():
    """The same step written out with plain gradients, one after the other."""
    system, data = make(), batch()
    state = jax.jit(system.init)(jax.random.key(0), data)
    spectral = state.collections[DISCRIMINATOR]["spectral"]

    def judge(params, spectral, images):
        variables = {"params": params, "spectral": spectral}
        logits, updated = JudgeModule().apply(variables, images, train=True, mutable=["spectral"])
        return logits, updated["spectral"]

    def image(params):
        variables = {"params": params, **state.collections[NETWORK]}
        output, _ = Model().apply(
            variables, data.composite, data.mask, train=True, mutable=["batch_stats"]
        )
        return output.image

    def judge_loss(params, images):
        fake, first = judge(params, spectral, images)
        real, second = judge(params, first, data.target)
        return jnp.mean(jnp.square(fake)) + jnp.mean(jnp.square(real - 1)), second

    def model_loss(params, judge_params, spectral):
        images = image(params)
        logits, spectral = judge(judge_params, spectral, images)
        error = jnp.mean(jnp.square(images - data.target))
        return jnp.mean(jnp.square(logits - 1)) + error, spectral

    @jax.jit
    def by_hand(params, judge_params):
        grads, after = jax.grad(judge_loss, has_aux=True)(judge_params, image(params))
        judge_params = jax.tree.map(lambda p, g: p - RATE * g, judge_params, grads)
        grads, after = jax.grad(model_loss, has_aux=True)(params, judge_params, after)
        return jax.tree.map(lambda p, g: p - RATE * g, params, grads), judge_params, after

    expected = by_hand(state.params[NETWORK], state.params[DISCRIMINATOR])
    after, metrics = run(system)
    got = (
        after.params[NETWORK],
        after.params[DISCRIMINATOR],
        after.collections[DISCRIMINATOR]["spectral"],
    )
    assert_close(got, expected)
    assert float(after.collections[NETWORK]["batch_stats"]["calls"]) == 1
    assert {"loss", "discriminator_loss", "error", "lr", "grad_norm"} <= set(metrics)
    assert {f"discriminator_{k}_norm" for k in ("grad", "update", "param")} <= set(metrics)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_equals_the_large_batch(accumulate):
    whole, expected = run(make(), 3)
    parts, metrics = run(make(accumulate=accumulate), 3)
    assert_close(parts.params, whole.params)
    assert_close(parts.collections[DISCRIMINATOR], whole.collections[DISCRIMINATOR])
    assert float(parts.collections[NETWORK]["batch_stats"]["calls"]) == 3 * accumulate
    assert set(metrics) == set(expected)
    for name, (total, count) in metrics.items():
        np.testing.assert_allclose(total / count, np.divide(*expected[name]), rtol=1e-4)


def test_state_holds_both_networks_and_averages_the_deployed_one():
    system = make(ema_decay=0.9, optim=OptimConfig(name="adam", lr=1e-2))
    state, _ = run(system, 2)
    for part in (state.params, state.collections, state.opt_state):
        assert set(part) == {NETWORK, DISCRIMINATOR}
    assert set(state.ema) == {NETWORK}
    assert set(system.variables(state)) == {"params", "batch_stats"}
    moments = [state.opt_state[name] for name in (NETWORK, DISCRIMINATOR)]
    structures = [jax.tree.structure(m) for m in moments]
    assert structures[0] != structures[1]


def test_without_a_discriminator_it_is_plain_training():
    class Alone(Duel):
        def discriminator(self, axis_name=None):
            return None

        def loss(self, ctx, output, batch, extras):
            return jnp.mean(jnp.square(output.image - batch.target)), {}

    system = dataclasses.replace(Alone.from_config(make().config, total_steps=5))
    state, metrics = run(system)
    assert set(state.params) == set(state.opt_state) == {NETWORK}
    assert not any("discriminator" in name for name in metrics)


@jax.custom_vjp
def only_to_look_at(image):
    return 2 * image


def refuse_gradient(residuals, upstream):
    raise AssertionError("a gradient of what no loss uses is computed")


only_to_look_at.defvjp(lambda image: (2 * image, ()), refuse_gradient)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_no_loss_uses_has_no_gradient(accumulate):
    class Shown(Model):
        @nn.compact
        def __call__(self, composite, mask, background=None, *, train=False):
            image = Model(name="model")(composite, mask, train=train).image
            return Output(image, {"shown": only_to_look_at(image)})

    class ShownDuel(Duel):
        def module(self, axis_name=None):
            return Shown()

    run(ShownDuel.from_config(make(accumulate=accumulate).config, total_steps=5))

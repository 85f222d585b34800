"""One network, one optimizer: accumulation, averaging, precision."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toy_system import Toy, ToyConfig, ToySystem, toy_config

from jaxharm.config import OptimConfig
from jaxharm.registry import make_system
from jaxharm.schema import Batch
from jaxharm.training.supervised import SupervisedSystem


def toy_batch(count=8, side=8):
    rng = np.random.default_rng(5)
    shape = (count, side, side)
    return Batch(
        composite=rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
        mask=(rng.random((*shape, 1)) > 0.5).astype(np.float32),
        target=rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
        index=np.arange(count, dtype=np.int32),
    )


def step_once(system, batch, steps=1):
    state = jax.jit(system.init)(jax.random.key(0), batch)
    step = jax.jit(lambda state, batch: system.step(state, batch, axis_name=None))
    for _ in range(steps):
        state, metrics = step(state, batch)
    return state, metrics


class MeanSystem(ToySystem):
    """A loss that is a mean over samples, whatever the masks."""

    def loss(self, ctx, output, batch, extras):
        error = jnp.mean(jnp.square(output.image - batch.target))
        if ctx.axis_name is not None:
            error = jax.lax.pmean(error, ctx.axis_name)
        return error, {}


class EvalModeSystem(MeanSystem):
    """Without batch norm's coupling of samples: the model runs on its running statistics."""

    def module(self, axis_name=None):
        return _EvalMode(super().module(axis_name))


class _EvalMode:
    def __init__(self, module):
        self._module = module

    def init(self, *args, **options):
        return self._module.init(*args, **options)

    def apply(self, *args, **options):
        return self._module.apply(*args, **{**options, "train": False})


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_equals_the_large_batch(accumulate):
    batch = toy_batch()
    base = toy_config(optim=OptimConfig(name="sgd", lr=0.5))
    whole, expected = step_once(EvalModeSystem.from_config(base, total_steps=5), batch, 3)
    config = dataclasses.replace(base, accumulate=accumulate)
    parts, metrics = step_once(EvalModeSystem.from_config(config, total_steps=5), batch, 3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        whole.params,
        parts.params,
    )
    means = [float(m["loss"][0] / m["loss"][1]) for m in (expected, metrics)]
    assert means[0] == pytest.approx(means[1], rel=1e-5)
    assert float(metrics["loss"][1]) == accumulate


def test_batch_statistics_are_updated_per_micro_batch():
    once, _ = step_once(make_system(toy_config(), total_steps=5), toy_batch())
    twice, _ = step_once(make_system(toy_config(accumulate=2), total_steps=5), toy_batch())
    means = [
        np.asarray(s.collections["model"]["batch_stats"]["norm"]["mean"]) for s in (once, twice)
    ]
    # Running mean after one and two updates from zero, of nearly the same batch mean.
    np.testing.assert_allclose(means[1], means[0] * 1.9, rtol=0.1)


def test_average_is_used_for_prediction_and_follows_the_parameters():
    system = make_system(toy_config(ema_decay=0.99), total_steps=5)
    batch = toy_batch()
    start = jax.jit(system.init)(jax.random.key(0), batch)
    state, _ = step_once(system, batch)
    # At step 0 the decay is (1 + 0) / (10 + 0): nine tenths of the new parameters.
    jax.tree.map(
        lambda a, p0, p1: np.testing.assert_allclose(a, 0.1 * p0 + 0.9 * p1, rtol=1e-5, atol=1e-7),
        state.ema["model"],
        {"params": start.params["model"], **start.collections["model"]},
        {"params": state.params["model"], **state.collections["model"]},
    )
    predict = jax.jit(lambda state, batch: system.predict(state, batch).image)
    averages = {"model": dict(state.ema["model"])}
    params = {"model": averages["model"].pop("params")}
    averaged = predict(state.replace(params=params, collections=averages, ema={}), batch)
    np.testing.assert_array_equal(predict(state, batch), averaged)
    assert not np.array_equal(predict(state.replace(ema={}), batch), averaged)


@pytest.mark.slow
def test_bfloat16_keeps_parameters_statistics_and_outputs_in_float32():
    system = make_system(toy_config(precision="bfloat16"), total_steps=5)
    batch = toy_batch()
    assert system.module().dtype == jnp.bfloat16
    state, metrics = step_once(system, batch)
    leaves = jax.tree.leaves((state.params, state.collections, metrics))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    output = jax.eval_shape(system.predict, state, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(output)} == {jnp.dtype(jnp.float32)}
    _, exact = step_once(make_system(toy_config(), total_steps=5), batch)
    assert float(metrics["loss"][0]) == pytest.approx(float(exact["loss"][0]), rel=0.02)


def test_metrics_report_norms_and_the_learning_rate():
    config = toy_config(optim=OptimConfig(name="sgd", b1=0.0, lr=0.25))
    _, metrics = step_once(make_system(config, total_steps=5), toy_batch())
    values = {name: float(total / count) for name, (total, count) in metrics.items()}
    assert values["lr"] == 0.25
    assert values["update_norm"] == pytest.approx(0.25 * values["grad_norm"], rel=1e-5)
    assert values["loss"] == pytest.approx(values["fg_error"], rel=1e-6)


def test_dropout_differs_between_steps_and_not_between_runs():
    config = toy_config(model=ToyConfig(dropout=0.5), optim=OptimConfig(name="sgd", lr=0.0))
    system = make_system(config, total_steps=5)
    losses = [float(step_once(system, toy_batch(), n)[1]["loss"][0]) for n in (1, 2, 2)]
    assert losses[0] != losses[1]
    assert losses[1] == losses[2]


def test_a_system_must_define_its_loss():
    class Lossless(SupervisedSystem):
        MODEL = Toy

    system = Lossless.from_config(toy_config(), total_steps=5)
    with pytest.raises(NotImplementedError, match="Lossless defines no loss"):
        step_once(system, toy_batch())

"""The benchmark of a training step takes any published config."""

import functools
from pathlib import Path

import jax
import pytest

from jaxharm.config_file import import_file, load_config, published_configs
from jaxharm.registry import make_system

train_step = import_file(Path(__file__).resolve().parent.parent / "benchmarks/train_step.py")
pytestmark = pytest.mark.slow  # tracing each of them takes seconds
NAMES = [name for name in published_configs() if "study" not in name]


@pytest.mark.parametrize("name", NAMES)
def test_any_config_can_be_measured(name):
    config = load_config(name, ["smoke"])
    system = make_system(config, total_steps=10)
    batch = train_step.random_batch(config, 2, config.data.image_size)
    state = jax.eval_shape(system.init, jax.random.key(0), batch)
    step = functools.partial(system.step, axis_name=None)
    after, metrics = jax.eval_shape(step, state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert "loss" in metrics
    assert jax.eval_shape(system.predict, state, batch).image.shape == batch.composite.shape
    assert train_step.stored_activations(system, state, batch) > 0

"""The same step launched three ways, on 1, 2 and 8 devices: every registered system."""

import functools

import jax
import numpy as np
import pytest
from system_cases import NAMES, tiny_batch, tiny_system

from jaxharm.errors import InputError
from jaxharm.training import parallel

STEPS = 10
CASES = ["toy", *NAMES]
pytestmark = pytest.mark.dist


@functools.cache
def trained(name, mode, devices, accumulate=1):
    """Numpy state and per-step losses after ten SGD steps."""
    system = tiny_system(name, accumulate=accumulate)
    mesh = parallel.make_mesh(jax.devices()[:devices])
    state = parallel.init_state(system, 0, tiny_batch(system.config), mesh)
    step = parallel.launch(system.step, mode, mesh)
    losses = []
    for number in range(STEPS):
        batch = parallel.put_batch(tiny_batch(system.config, number), mode, mesh)
        state, metrics = step(state, batch)
        total, count = jax.device_get(metrics["loss"])
        losses.append(total / count)
    state = state.replace(key=jax.random.key_data(state.key))
    return jax.tree.map(np.asarray, state), np.array(losses)


def assert_close(got, expected):
    """Losses and weights agree to float32 rounding, as ten steps amplify it."""
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-4)
    for path, value in jax.tree_util.tree_leaves_with_path(expected[0].params):
        other = functools.reduce(lambda tree, part: tree[part.key], path, got[0].params)
        np.testing.assert_allclose(
            other, value, rtol=1e-3, atol=1e-5, err_msg=jax.tree_util.keystr(path)
        )


@pytest.mark.parametrize("name", CASES)
def test_pmap_and_shard_map_are_bit_identical(name):
    mapped, sharded = trained(name, "pmap", 8), trained(name, "shard_map", 8)
    jax.tree.map(np.testing.assert_array_equal, mapped[0], sharded[0])
    np.testing.assert_array_equal(mapped[1], sharded[1])


@pytest.mark.parametrize("name", CASES)
def test_jit_agrees_with_shard_map(name):
    assert_close(trained(name, "jit", 8), trained(name, "shard_map", 8))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("devices", [1, 2])
def test_fewer_devices_agree_at_the_same_global_batch(name, devices):
    assert_close(trained(name, "shard_map", devices), trained(name, "shard_map", 8))


@pytest.mark.parametrize("name", CASES)
def test_ten_steps_move_the_weights(name):
    system = tiny_system(name)
    start = parallel.init_state(system, 0, tiny_batch(system.config), parallel.make_mesh())
    state, losses = trained(name, "shard_map", 8)
    assert np.isfinite(losses).all()
    assert int(state.step) == STEPS
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), start.params, state.params)
    assert np.mean(jax.tree.leaves(moved)) > 0.9


def test_accumulation_takes_the_same_samples_on_any_number_of_devices():
    one = trained("toy", "shard_map", 1, accumulate=2)
    assert_close(trained("toy", "shard_map", 4, accumulate=2), one)
    assert_close(trained("toy", "jit", 4, accumulate=2), one)


@pytest.mark.parametrize("mode", ["pmap", "shard_map", "jit"])
def test_state_is_donated(mode):
    system, mesh = tiny_system("toy"), parallel.make_mesh()
    state = parallel.init_state(system, 0, tiny_batch(system.config), mesh)
    batch = parallel.put_batch(tiny_batch(system.config), mode, mesh)
    parallel.launch(system.step, mode, mesh)(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


@pytest.mark.parametrize("count", [1, 8, 11])
def test_prediction_of_any_batch_length(count):
    system, mesh = tiny_system("toy", batch_size=count), parallel.make_mesh()
    batch = tiny_batch(system.config)
    state = parallel.init_state(system, 0, batch, mesh)
    predicted = parallel.make_predict(system, mesh)(
        state, {**batch, "composite_id": np.array(["x"] * count, object)}
    )
    expected = system.predict(jax.device_get(state.replace(key=None)), batch)
    assert predicted.image.shape == (count, 8, 8, 3)
    np.testing.assert_allclose(predicted.image, expected.image, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(12, 1), (8, 2), (0, 1), (8, 0), (4, 1)])
def test_batches_that_do_not_fit_are_refused(batch_size, accumulate):
    with pytest.raises(InputError, match=f"batch_size={batch_size} cannot be split evenly over 8"):
        parallel.check_batch_size(batch_size, accumulate, parallel.make_mesh())


@pytest.mark.parametrize(
    ("count", "rank", "shown"), [(None, "0", "None and 0"), ("2", "2", "2 and 2")]
)
def test_incomplete_coordinates_of_a_process_are_refused(monkeypatch, count, rank, shown):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_PROCESS_ID", rank)
    if count is not None:
        monkeypatch.setenv("JAX_NUM_PROCESSES", count)
    with pytest.raises(InputError, match=rf"coordinator localhost:1 needs .* not {shown}"):
        parallel.initialize_distributed()

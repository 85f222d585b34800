"""The same step launched four ways, on 1, 2 and 8 devices: every registered system."""

import functools

import jax
import numpy as np
import pytest
from support import system_cases
from support.system_cases import NAMES, tiny_batch, tiny_system
from support.tiers import first_is_quick

from jaxharm.errors import InputError
from jaxharm.training import initial, parallel, sharding
from jaxharm.training.task import check_kernels

STEPS, FEW = 10, 3
# Compiling five programs of every system takes many minutes: only the toy's are compared each time.
CASES = [
    "toy",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in NAMES
        if system_cases.CASES[name].launched
    ),
]
pytestmark = pytest.mark.dist


# Compiling is nearly all of the time here, and its optimizations are not what is tested.
QUICK_COMPILE = {"xla_backend_optimization_level": 0}


@functools.cache
def fresh(name):
    """The system and its state as numpy arrays, the same for every launcher."""
    system = tiny_system(name)
    state = initial.init_state(system, 0, tiny_batch(system.config), parallel.make_mesh())
    return system, to_numpy(state)


def to_numpy(state):
    return jax.tree.map(np.asarray, state.replace(key=jax.random.key_data(state.key)))


@functools.cache
def trained(name, mode, devices, *, steps=STEPS, accumulate=1):
    """Numpy states after FEW and after `steps` SGD steps, and the loss of every step."""
    system, start = fresh(name)
    if accumulate > 1:
        system = tiny_system(name, accumulate=accumulate)
    mesh = parallel.make_mesh(jax.devices()[:devices])
    state = start.replace(key=jax.random.wrap_key_data(start.key))
    state = jax.device_put(state, sharding.shardings(state, mesh, mode), may_alias=False)
    batches = [
        parallel.put_batch(tiny_batch(system.config, number), mode, mesh) for number in range(steps)
    ]
    step = parallel.launch(system.step, mode, mesh)
    step = step.lower(state, batches[0]).compile(compiler_options=QUICK_COMPILE)
    losses, states = [], {}
    for number, batch in enumerate(batches, 1):
        state, metrics = step(state, batch)
        total, count = jax.device_get(metrics["loss"])
        losses.append(total / count)
        if number in (FEW, steps):
            states[number] = to_numpy(state)
    return states, np.array(losses)


def distance(first, second):
    """Euclidean distance of two trees of parameters, in float64."""
    square = jax.tree.map(lambda a, b: np.sum(np.square(np.float64(a) - b)), first, second)
    return np.sqrt(sum(jax.tree.leaves(square)))


def assert_close(name, got, expected):
    """Weights differ by far less than they moved; a wrong reduction makes that share about 1.

    Measured after three steps: 1e-7 to 8e-5 of the way. Over ten steps a value that falls on
    the other side of a kink (ReLU6, |x|, a curve's knot) takes another way: up to 8e-3.
    """
    start = fresh(name)[1].params
    for steps, tolerance in ((FEW, 5e-4), (STEPS, 5e-2)):
        if steps in got[0]:
            moved = distance(expected[0][steps].params, start)
            apart = distance(got[0][steps].params, expected[0][steps].params)
            assert apart <= tolerance * moved
    np.testing.assert_allclose(got[1][:FEW], expected[1][:FEW], rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_pmap_and_shard_map_are_bit_identical(name):
    mapped, sharded = trained(name, "pmap", 8), trained(name, "shard_map", 8)
    jax.tree.map(np.testing.assert_array_equal, mapped, sharded)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", ["jit", "fsdp"])
def test_global_programs_agree_with_shard_map(name, mode):
    assert_close(name, trained(name, mode, 8), trained(name, "shard_map", 8))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("devices", [1, 2])
def test_fewer_devices_agree_at_the_same_global_batch(name, devices):
    few = trained(name, "shard_map", devices, steps=FEW)
    assert_close(name, few, trained(name, "shard_map", 8))


@pytest.mark.parametrize("name", CASES)
def test_the_compared_steps_move_the_weights(name):
    start = fresh(name)[1].params
    states, losses = trained(name, "shard_map", 8)
    assert np.isfinite(losses).all()
    assert int(states[STEPS].step) == STEPS
    assert distance(states[FEW].params, start) > 1e-4 * distance(
        start, jax.tree.map(np.zeros_like, start)
    )


@pytest.mark.slow
def test_accumulation_takes_the_same_samples_on_any_number_of_devices():
    one = trained("toy", "shard_map", 1, accumulate=2)
    assert_close("toy", trained("toy", "shard_map", 4, accumulate=2), one)
    assert_close("toy", trained("toy", "jit", 4, accumulate=2), one)


@pytest.mark.parametrize("mode", ["pmap", *first_is_quick(["shard_map", "jit", "fsdp"])])
def test_state_is_donated(mode):
    system, mesh = tiny_system("toy"), parallel.make_mesh()
    state = initial.init_state(system, 0, tiny_batch(system.config), mesh, mode)
    batch = parallel.put_batch(tiny_batch(system.config), mode, mesh)
    parallel.launch(system.step, mode, mesh)(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


@pytest.mark.parametrize("count", [1, 8, 11])
def test_prediction_of_any_batch_length(count):
    system, mesh = tiny_system("toy", batch_size=count), parallel.make_mesh()
    batch = tiny_batch(system.config)
    state = initial.init_state(system, 0, batch, mesh)
    predicted = parallel.make_predict(system, mesh)(
        state, batch.replace(composite_id=np.array(["x"] * count, object))
    )
    expected = system.predict(jax.device_get(state.replace(key=None)), batch)
    assert predicted.image.shape == (count, 8, 8, 3)
    np.testing.assert_allclose(predicted.image, expected.image, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(12, 1), (8, 2), (0, 1), (8, 0), (4, 1)])
def test_batches_that_do_not_fit_are_refused(batch_size, accumulate):
    with pytest.raises(InputError, match=f"batch_size={batch_size} cannot be split evenly over 8"):
        parallel.check_batch_size(batch_size, accumulate, parallel.make_mesh())


def test_kernels_are_refused_where_they_would_have_to_be_split():
    mesh, alone = parallel.make_mesh(), parallel.make_mesh(jax.devices()[:1])
    check_kernels("pallas_tpu", "shard_map", mesh)
    check_kernels("pallas_tpu", "fsdp", alone)
    check_kernels("pallas_interpret", "jit", mesh)
    with pytest.raises(InputError, match="'pallas_tpu' does not go with parallel='fsdp' on 8 dev"):
        check_kernels("pallas_tpu", "fsdp", mesh)


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

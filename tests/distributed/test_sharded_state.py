"""A training state that is split over the devices (parallel=fsdp)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from safetensors.numpy import load_file
from support.toy_run import curve, run, run_config, toy_batch
from support.toy_system import ToyConfig

from jaxharm.registry import make_system
from jaxharm.training import initial, parallel, sharding

pytestmark = pytest.mark.dist


@pytest.fixture(autouse=True)
def split_small_arrays(monkeypatch):
    """The toy's arrays are small: they are split all the same."""
    monkeypatch.setattr(sharding, "_SMALL", 8)


def config_of(mode, **changes):
    return run_config(model=ToyConfig(features=8), parallel=mode, ema_decay=0.9, **changes)


def numbers(workdir):
    return load_file(workdir / "weights" / "weights.safetensors")


def assert_alike(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-4, atol=2e-6, err_msg=name)


def test_arrays_are_split_along_their_longest_even_axis():
    mesh = parallel.make_mesh()
    shapes = {
        "longest": (3, 16, 8, 24),
        "even": (17, 8),
        "odd": (9, 5),
        "small": (7,),
        "first": (16, 16),
    }
    tree = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    tree["key"] = jax.eval_shape(jax.random.key, 0)
    found = {n: place.spec for n, place in sharding.shardings(tree, mesh, "fsdp").items()}
    assert found == {
        "longest": P(None, None, None, "data"),
        "even": P(None, "data"),
        "odd": P(),
        "small": P(),
        "first": P("data", None),
        "key": P(),
    }
    whole = sharding.shardings(tree, mesh, "jit")
    assert {place.spec for place in whole.values()} == {P()}


def test_a_step_keeps_the_state_split_and_gives_its_memory_back():
    config = config_of("fsdp")
    mesh, batch = parallel.make_mesh(), toy_batch(0, 8)
    system = make_system(config, total_steps=6)
    state = initial.init_state(system, 0, batch, mesh, "fsdp")
    step = parallel.launch(system.step, "fsdp", mesh)
    following, _ = step(state, parallel.put_batch(batch, "fsdp", mesh))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    for tree in (following.params["model"], following.ema["model"]["params"]):
        assert tree["in"]["kernel"].addressable_shards[0].data.shape == (3, 3, 4, 1)
    moments = [leaf for leaf in jax.tree.leaves(following.opt_state) if leaf.shape == (3, 3, 4, 8)]
    assert len(moments) == 2
    assert {leaf.addressable_shards[0].data.shape for leaf in moments} == {(3, 3, 4, 1)}
    assert all(
        leaf.is_fully_replicated for leaf in jax.tree.leaves(sharding.collected(following, mesh))
    )


def test_a_run_ends_as_with_whole_states(tmp_path):
    for mode in ("shard_map", "fsdp"):
        run(config_of(mode), tmp_path / mode)
    assert_alike(numbers(tmp_path / "fsdp"), numbers(tmp_path / "shard_map"))
    losses = [
        [row["loss"] for row in curve(tmp_path / mode) if row["kind"] == "train"]
        for mode in ("shard_map", "fsdp")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then"),
    [("fsdp", "shard_map"), ("pmap", "fsdp")],
)
def test_a_checkpoint_fits_both_kinds_of_state(tmp_path, first, then):
    run(config_of("shard_map"), tmp_path / "undisturbed")
    run(config_of(first, steps=4), tmp_path / "run")
    run(config_of(then), tmp_path / "run")
    assert_alike(numbers(tmp_path / "run"), numbers(tmp_path / "undisturbed"))


@pytest.mark.slow
def test_weights_of_another_run_are_split_as_well(tmp_path):
    run(config_of("shard_map", steps=2), tmp_path / "first")
    state = run(config_of("fsdp", steps=1, init_from=str(tmp_path / "first")), tmp_path / "second")
    kernel = state.params["model"]["in"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (3, 3, 4, 1)

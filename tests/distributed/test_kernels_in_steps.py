"""Whole training steps with kernels: as by the reference, the same bits again, on every device."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.kernel_runs import INTERPRET, on_every_chip, parametrize_kernels
from support.system_cases import NAMES, tiny_batch, tiny_config

from jaxharm.ops import dispatch
from jaxharm.registry import make_system
from jaxharm.training import initial, parallel

STEPS = 3
OPS = Path(dispatch.__file__).parent
FILES = {  # implementation -> its file in the folder of an operation
    "pallas_interpret": "pallas_tpu.py",
    "pallas_tpu": "pallas_tpu.py",
    "pallas_gpu": "pallas_triton.py",
    "pallas_mosaic_gpu": "pallas_mosaic_gpu.py",
}
pytestmark = [pytest.mark.slow, pytest.mark.dist]


def trained(name, implementation, *, mode="shard_map", devices=1):
    """Parameters before and after a few steps, the losses, and which kernels were traced."""
    config = tiny_config(name, steps=STEPS)
    mesh = parallel.make_mesh(jax.devices()[:devices])
    dispatch._logged.clear()  # of what was traced before
    with dispatch.override(implementation):
        system = make_system(config, total_steps=STEPS)
        state = initial.init_state(system, 0, tiny_batch(config), mesh, mode)
        # Away from zeros: a model that changes nothing at first sits on the kink of a loss that asks
        # whether it made things worse, and rounding decides.
        state = state.replace(params=jax.tree.map(nudged, state.params))
        first = jax.tree.map(np.array, state.params)
        step, losses = parallel.launch(system.step, mode, mesh), []
        for number in range(STEPS):
            batch = parallel.put_batch(tiny_batch(config, number), mode, mesh)
            state, metrics = step(state, batch)
            total, count = jax.device_get(metrics["loss"])
            losses.append(float(total / count))
    return first, jax.tree.map(np.array, state.params), losses, dispatch.choices()


def nudged(value):
    return value + 0.01 * jnp.sin(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape)


def share_of_way(found, want, first):
    """Distance of two results over the way from the start, in float64."""

    def distance(a, b):
        squares = jax.tree.map(lambda x, y: np.sum(np.square(np.float64(x) - y)), a, b)
        return np.sqrt(sum(jax.tree.leaves(squares)))

    return distance(found, want) / distance(want, first)


@functools.cache
def by_reference(name):
    return trained(name, "reference")


@parametrize_kernels()
@pytest.mark.parametrize("name", NAMES)
def test_a_step_with_kernels_is_that_with_the_reference(name, kernels):
    first, want, losses, _ = by_reference(name)
    _, found, others, used = trained(name, kernels)
    if not any((OPS / op / FILES[kernels]).exists() for op in used):
        pytest.skip(f"no operation of {name} has a kernel of {kernels}")
    assert any(kernels in names for names in used.values()), used
    np.testing.assert_allclose(others, losses, rtol=1e-4)
    # See test_launchers.py: a kink takes another way now and then.
    assert share_of_way(found, want, first) < 1e-2
    again = trained(name, kernels)[1]
    jax.tree.map(np.testing.assert_array_equal, again, found)


@on_every_chip
@pytest.mark.parametrize("name", NAMES)
def test_all_devices_end_where_one_does(name):
    devices = 2 if INTERPRET else jax.device_count()
    if devices == 1:
        pytest.skip("one device is here")
    first, want, losses, _ = by_reference(name)
    mapped = trained(name, "reference", mode="pmap", devices=devices)
    _, found, others, _ = trained(name, "reference", devices=devices)
    np.testing.assert_allclose(others, losses, rtol=1e-4)
    assert share_of_way(found, want, first) < 1e-2
    jax.tree.map(np.testing.assert_array_equal, mapped[1], found)

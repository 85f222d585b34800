"""Dropout that does not depend on the number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxharm.nn.dropout import Dropout

X = jnp.ones((8, 40, 50))


def drop(x, seed=0, axis_name=None, train=True):
    return Dropout(0.2, axis_name).apply({}, x, train=train, rngs={"dropout": jax.random.key(seed)})


def test_off_outside_training():
    np.testing.assert_array_equal(Dropout(0.2).apply({}, X, train=False), X)


def test_share_and_scale():
    y = np.asarray(drop(X))
    np.testing.assert_array_equal(np.unique(y), np.float32([0, 1.25]))
    # 16000 draws: standard deviation 0.003.
    assert abs(np.mean(y == 0) - 0.2) < 0.015


def test_samples_and_keys_differ():
    y = np.asarray(drop(X))
    assert not np.array_equal(y[0], y[1])
    assert not np.array_equal(y, drop(X, seed=1))


@pytest.mark.dist
@pytest.mark.parametrize("devices", [2, 8])
def test_pattern_is_that_of_the_global_batch(devices):
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    data = PartitionSpec("data")
    sharded = jax.jit(
        jax.shard_map(
            lambda x: drop(x, axis_name="data"),
            mesh=mesh,
            in_specs=data,
            out_specs=data,
            check_vma=False,
        )
    )
    np.testing.assert_array_equal(sharded(X), drop(X))

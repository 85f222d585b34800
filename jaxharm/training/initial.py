"""The state with which a run begins, and the shapes of all that a step takes."""

import functools
from collections.abc import Callable
from typing import cast

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxharm.config import Launcher
from jaxharm.interfaces import Array, DeviceBatch, PyTree, System, TrainState
from jaxharm.schema import HostArray, HostBatch
from jaxharm.training.parallel import AXIS
from jaxharm.training.sharding import shardings

Init = Callable[[Array], TrainState]  # typed key -> fresh state


def make_init(system: System, batch: HostBatch, mesh: Mesh, mode: Launcher = "shard_map") -> Init:
    """`system.init` of a key, compiled once for any seed; of `batch` only the shapes are read."""
    init = functools.partial(_init, system, batch)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.jit(init, out_shardings=shardings(shapes, mesh, mode))


def init_state(
    system: System,
    seed: int,
    batch: HostBatch,
    mesh: Mesh,
    mode: Launcher = "shard_map",
    init: Init | None = None,
) -> TrainState:
    """A fresh state, made in place on the devices of the mesh; by `init` where one is at hand."""
    state = (init or make_init(system, batch, mesh, mode))(jax.random.key(seed))
    state = system.with_pretrained(state)
    return jax.device_put(state, shardings(state, mesh, mode))


def abstract_state(
    system: System, batch: HostBatch, mesh: Mesh, mode: Launcher = "shard_map"
) -> TrainState:
    """Shapes, dtypes and shardings of the state: the target of a restore."""
    shapes = jax.eval_shape(functools.partial(_init, system, batch), jax.random.key(0))
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        shapes,
        shardings(shapes, mesh, mode),
    )


def abstract_arguments(
    system: System, batch: HostBatch, mesh: Mesh, mode: Launcher
) -> tuple[PyTree, PyTree]:
    """Shapes, dtypes and shardings of a state and a whole global batch, as a launched step takes them."""
    state, rows = abstract_state(system, batch, mesh, mode), batch.for_devices()
    if mode == "pmap":  # takes no shardings: the state is replicated, each device has a row
        return jax.tree.map(lambda leaf: _shape(leaf.shape, leaf), state), jax.tree.map(
            lambda leaf: _shape((mesh.size, len(leaf) // mesh.size, *leaf.shape[1:]), leaf), rows
        )
    split = NamedSharding(mesh, P(AXIS))
    return state, jax.tree.map(lambda leaf: _shape(leaf.shape, leaf, split), rows)


def _shape(
    shape: tuple[int, ...],
    leaf: HostArray | jax.ShapeDtypeStruct,
    place: NamedSharding | None = None,
) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=place)


def _init(system: System, batch: HostBatch, key: jax.Array) -> TrainState:
    # Only its shapes and dtypes are read, which numpy arrays have as well.
    return system.init(key, cast(DeviceBatch, batch))

"""Processes, devices, and the four ways to launch one step over them.

The step is written once for one device's shard (interfaces.py). State is replicated over a
one-axis mesh (with "fsdp" it is split: sharding.py), batches are split over it. Nothing else in
the package knows how many devices or hosts there are.
"""

import functools
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxharm.config import Launcher
from jaxharm.errors import InputError
from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Metrics,
    Output,
    Params,
    PyTree,
    System,
    TrainState,
)
from jaxharm.schema import HostArray, HostBatch
from jaxharm.training.roll_call import call_roll
from jaxharm.training.sharding import shardings

AXIS = "data"
_HEARTBEAT = 30  # seconds without a sign of life after which a process counts as lost
Step = Callable[[TrainState, DeviceBatch], tuple[TrainState, Metrics]]
TreeT = TypeVar("TreeT")
ResultT = TypeVar("ResultT")


class SystemStep(Protocol):
    """`System.step`, or a function that wraps it."""

    def __call__(
        self, state: TrainState, batch: DeviceBatch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One optimization step."""
        ...


class PackedStep(Protocol):
    """See `launch_packed`."""

    def __call__(
        self, states: TrainState, batches: tuple[DeviceBatch, ...], /
    ) -> tuple[TrainState, tuple[Metrics, ...]]:
        """The next step of every run; `states` are given away."""
        ...

    def lower(self, states: TrainState, batches: tuple[DeviceBatch, ...], /) -> object:
        """Traces the step without compiling it."""
        ...


def initialize_distributed(
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
    *,
    start_limit: float = 300.0,
) -> None:
    """Joins this process to the others of the run; call it before any other use of JAX.

    Without arguments: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID where they
    are set; else what Slurm (several tasks) or a TPU machine tells; else a run of one process.

    Args:
        coordinator, processes, process_id: address of process 0, how many there are, and which
            one this is.
        start_limit: seconds that the others have to come, where an address is given.

    Raises:
        InputError: an address without the number of processes or this process's id; processes
            that did not come, by their numbers.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if coordinator:
        count = processes if processes is not None else _env_int("JAX_NUM_PROCESSES")
        rank = process_id if process_id is not None else _env_int("JAX_PROCESS_ID")
        if count is None or rank is None or not 0 <= rank < count:
            raise InputError(
                f"coordinator {coordinator} needs the number of processes and this process's id "
                f"below it (JAX_NUM_PROCESSES, JAX_PROCESS_ID), not {count} and {rank}"
            )
        call_roll(coordinator, count, rank, start_limit)
        jax.distributed.initialize(
            coordinator,
            count,
            rank,
            initialization_timeout=max(1, round(start_limit)),
            heartbeat_timeout_seconds=_HEARTBEAT,
        )
    elif _several_slurm_tasks() or _on_tpu():
        jax.distributed.initialize(heartbeat_timeout_seconds=_HEARTBEAT)


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """All devices of all processes (or the given ones) along the axis "data".

    The devices of one process are neighbors, so that its slice of a batch is contiguous.
    """
    devices = sorted(devices or jax.devices(), key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def check_batch_size(batch_size: int, accumulate: int, mesh: Mesh) -> None:
    """InputError unless the global batch splits into equal micro-batches on every device."""
    parts = mesh.size * accumulate
    if accumulate < 1 or batch_size < parts or batch_size % parts:
        nearest = max(parts, round(batch_size / parts) * parts) if accumulate > 0 else mesh.size
        raise InputError(
            f"data.batch_size={batch_size} cannot be split evenly over {mesh.size} devices with "
            f"accumulate={accumulate}: set data.batch_size to a multiple of {max(parts, mesh.size)}"
            f", such as {nearest}"
        )


def launch(step: SystemStep, mode: Launcher, mesh: Mesh) -> Step:
    """The compiled training step; its state argument is donated.

    Args:
        step: `System.step`: (state, batch, axis_name=...) -> (state, metrics).
        mode: "shard_map" and "pmap" run it per device and are bit-identical; "jit" lets the
            compiler split the global arrays and agrees to float32 rounding; "fsdp" is "jit" with
            a state that is split over the devices.
        mesh: from `make_mesh`.

    Returns:
        (state, batch of `put_batch`) -> (state, metrics). Where any metric is not finite the
        state comes back unchanged, so that a diverged run still holds its last finite state.
    """
    launched: Step = _launch(_fence_batch(_keep_finite(step)), mode, mesh)
    return launched


def launch_packed(step: SystemStep, mode: Launcher, mesh: Mesh) -> PackedStep:
    """The compiled training step of several runs that differ in their seed only.

    Args:
        step, mode, mesh: as for `launch`.

    Returns:
        (states stacked along a leading axis, a batch of `put_batch` for each of them) -> (states,
        metrics of each); a run whose metrics are not finite keeps its state, as in `launch`.
    """
    packed: PackedStep = _launch(_fence_batch(_over_seeds(_keep_finite(step))), mode, mesh)
    return packed


def _launch(step: Callable[..., PyTree], mode: Launcher, mesh: Mesh) -> PyTree:
    """`step` of a replicated tree and a tree of batches, compiled; the first is donated."""
    per_device = functools.partial(step, axis_name=AXIS)
    if mode == "pmap":
        every = mesh.size == jax.device_count()
        return jax.pmap(
            per_device,
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=None,
            donate_argnums=0,
            devices=None if every else list(mesh.devices.flat),
        )
    if mode == "shard_map":
        mapped = jax.shard_map(
            per_device, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=P(), check_vma=False
        )
        return jax.jit(mapped, donate_argnums=0)
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P(AXIS))
    if mode == "jit":
        return jax.jit(
            functools.partial(step, axis_name=None),
            in_shardings=(whole, split),
            out_shardings=whole,
            donate_argnums=0,
        )

    def sharded(state: PyTree, batch: PyTree) -> PyTree:
        state, metrics = step(state, batch, axis_name=None)
        return jax.lax.with_sharding_constraint(state, shardings(state, mesh, mode)), metrics

    return jax.jit(sharded, in_shardings=(None, split), donate_argnums=0)


def put_batch(batch: HostBatch, mode: Launcher, mesh: Mesh) -> DeviceBatch:
    """This process's slice of a global batch, placed on its devices as `launch` wants it."""
    count, local = len(mesh.local_devices), make_mesh(list(mesh.local_devices))
    sharding = NamedSharding(local if mode == "pmap" else mesh, P(AXIS))

    def place(value: HostArray) -> Array:
        if mode == "pmap":
            return jax.device_put(value.reshape(count, -1, *value.shape[1:]), sharding)
        return jax.make_array_from_process_local_data(sharding, value)

    placed: DeviceBatch = jax.tree.map(place, batch.for_devices())
    return placed


def on_mesh(tree: TreeT, mesh: Mesh) -> TreeT:
    """Replicated arrays seen from another mesh that shares this process's devices; no copy.

    A multi-process pmap returns arrays that only span this process; checkpoints need them to
    span all. Evaluation needs the opposite. Arrays that are not on all of this process's devices
    yet, such as loaded weights, are copied to them.
    """
    sharding = NamedSharding(mesh, P())

    def view(leaf: jax.Array) -> jax.Array:
        if leaf.sharding == sharding:
            return leaf
        by_device = {shard.device: shard.data for shard in leaf.addressable_shards}
        if not set(mesh.local_devices) <= set(by_device):
            return jax.device_put(leaf, sharding)
        parts = [by_device[device] for device in mesh.local_devices]
        return jax.make_array_from_single_device_arrays(leaf.shape, sharding, parts)

    viewed: TreeT = jax.tree.map(view, tree)
    return viewed


def make_predict(system: System, mesh: Mesh) -> Callable[[TrainState, HostBatch], Output]:
    """`system.predict` on a host batch of any size, split over this process's devices.

    No other process takes part, so each may evaluate its own share of the records.

    Returns:
        (state, batch) -> Output whose image is a numpy array of the batch's length; aux is left
        out.
    """
    run = _on_local_devices(lambda state, batch: system.predict(state, batch).image, mesh)

    def predict(state: TrainState, batch: HostBatch) -> Output:
        return Output(image=run(state, batch))

    return predict


@dataclass(frozen=True)
class Trained:
    """A system and its state as something that predicts: host batch -> Output, as `make_predict`."""

    system: System
    state: TrainState
    run: Callable[[TrainState, HostBatch], Output]

    def __call__(self, batch: HostBatch) -> Output:
        return self.run(self.state, batch)

    def variables(self) -> Params:
        """The deployed model's variables, in memory of the host."""
        found: Params = jax.device_get(self.system.variables(self.state))
        return found


def make_figures(
    system: System, mesh: Mesh
) -> Callable[[TrainState, HostBatch], dict[str, HostArray]]:
    """`system.figures` in the manner of `make_predict`: name -> numpy array, in the system's order."""
    order = list[str]()

    def noting_order(state: TrainState, batch: DeviceBatch) -> Any:
        found = system.figures(state, batch)
        order[:] = found  # JAX sorts the keys of what leaves a compiled function
        return found

    compiled: Callable[[TrainState, HostBatch], Any] = _on_local_devices(noting_order, mesh)

    def run(state: TrainState, batch: HostBatch) -> dict[str, HostArray]:
        found = compiled(state, batch)
        return {name: found[name] for name in order}

    return run


def _on_local_devices(
    function: Callable[[TrainState, DeviceBatch], ResultT], mesh: Mesh
) -> Callable[[TrainState, HostBatch], ResultT]:
    """`function` of a state and a host batch of any length, over this process's devices."""
    local = make_mesh(list(mesh.local_devices))
    compiled = jax.jit(
        jax.shard_map(
            function, mesh=local, in_specs=(P(), P(AXIS)), out_specs=P(AXIS), check_vma=False
        )
    )

    def run(state: TrainState, batch: HostBatch) -> ResultT:
        count = len(batch.composite)
        padding = -count % local.size
        padded = jax.tree.map(
            lambda value: np.concatenate([value, value[:1].repeat(padding, 0)]),
            batch.for_devices(),
        )
        found = compiled(on_mesh(state, local), put_batch(padded, "shard_map", local))
        result: ResultT = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], found)
        return result

    return run


def _over_seeds(step: SystemStep) -> Callable[..., PyTree]:
    def packed(
        states: TrainState, batches: tuple[DeviceBatch, ...], *, axis_name: str | None
    ) -> tuple[TrainState, tuple[Metrics, ...]]:
        stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *batches)
        states, metrics = jax.vmap(functools.partial(step, axis_name=axis_name))(states, stacked)
        each = (
            {name: (total[i], count[i]) for name, (total, count) in metrics.items()}
            for i in range(len(batches))
        )
        return states, tuple(each)

    return packed


def _fence_batch(step: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Keeps pmap's reshape of the batch out of the step's fused loops.

    They would round differently from those that shard_map compiles (seen with jax 0.12).
    """

    @functools.wraps(step)
    def fenced(state: PyTree, batch: PyTree, *, axis_name: str | None) -> PyTree:
        return step(state, jax.lax.optimization_barrier(batch), axis_name=axis_name)

    return fenced


def _keep_finite(step: SystemStep) -> SystemStep:
    @functools.wraps(step)
    def kept(
        state: TrainState, batch: DeviceBatch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        new_state, metrics = step(state, batch, axis_name=axis_name)
        finite = jnp.stack([jnp.isfinite(value) for value in jax.tree.leaves(metrics)]).all()
        state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new_state, state)
        return state, metrics

    return kept


def _several_slurm_tasks() -> bool:
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def _on_tpu() -> bool:
    allowed = os.environ.get("JAX_PLATFORMS", "tpu")
    # libtpu alone proves nothing: `jaxharm compile` needs it on machines without a TPU.
    chips = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return bool(chips) and importlib.util.find_spec("libtpu") is not None and "tpu" in allowed


def _env_int(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"environment variable {name}={text!r} is not a whole number") from None

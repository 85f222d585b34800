"""Which kernels a run uses: tried at its start on its own device and sizes, and kept with the run."""

import time
from collections.abc import Callable

import jax
from jax.sharding import Mesh

from jaxharm.config import Json, Launcher
from jaxharm.interfaces import System
from jaxharm.ops import dispatch, tuned
from jaxharm.ops.dispatch import Call
from jaxharm.ops.trial import try_all
from jaxharm.ops.tuned import Rows
from jaxharm.schema import HostBatch
from jaxharm.training import initial, parallel
from jaxharm.training.task import Task
from jaxharm.weights.first_process import of_first


def choose_kernels(
    task: Task, mesh: Mesh, batch: HostBatch, recorded: Json, say: Callable[[str], None]
) -> Json:
    """Chooses the implementation of every operation that a step of the run calls.

    A choice that the run made before stands, so that a resumed run computes the same bits. Else what
    `jaxharm tune` measured for the call on this kind of device is taken, else the call is tried.
    Process 0 does it for all. Where there is nothing to choose, all calls run their reference: on a
    CPU, with a config that names the implementation, and where the compiler splits the program over
    devices, which it cannot do with kernels.

    Args:
        task: the run.
        mesh: its devices.
        batch: this process's part of one of its batches; only shapes are read.
        recorded: what this function returned in an earlier session, {} where there was none.
        say: is given a line once trials are done.

    Returns:
        {"device": kind, "jax": version, "rows": {key of a call: `Verdict.row`}}, or {}.
    """
    config = task.config
    split_by_compiler = config.parallel in ("jit", "fsdp") and mesh.size > 1
    if (
        config.ops.implementation is not None
        or split_by_compiler
        or not dispatch.kernels_exist(dispatch.platform())
    ):
        return {}
    calls = calls_of(task.system, config.parallel, mesh, batch)

    def decide() -> Json:
        device = {"device": dispatch.device_kind(), "jax": jax.__version__}
        same_device = recorded.get("device") == device["device"]
        kept = _undamaged(recorded.get("rows"), say) if same_device else {}
        return {**device, "rows": decided(calls, {**tuned.read(device["device"]), **kept}, say)}

    return of_first(decide)


def calls_of(system: System, mode: Launcher, mesh: Mesh, batch: HostBatch) -> dict[str, Call]:
    """The operations that a training step calls on every device, by their keys."""
    # Devices of other processes are left out with their rows: each one makes the same calls.
    local = parallel.make_mesh(list(mesh.local_devices))
    # A step of its own: the one that trains would keep what was chosen while this one was traced.
    step = parallel.launch(system.step, mode, local)
    with dispatch.listening() as calls:
        jax.eval_shape(step, *initial.abstract_arguments(system, batch, local, mode))
    return calls


def decided(calls: dict[str, Call], known: Rows, say: Callable[[str], None]) -> Json:
    """Key of a call -> its row: a known one, or that of trials made now; without kernels, none."""
    start, tried, rows = time.perf_counter(), 0, {}
    for key, call in calls.items():
        if not call.kernels():
            continue
        if key not in known:
            tried += 1
        rows[key] = dict(known.get(key) or try_all(call).row())
    if tried:
        say(
            f"tried the kernels for {tried} {'call' if tried == 1 else 'calls'} on "
            f"{dispatch.device_kind()} in {time.perf_counter() - start:.1f} s"
        )
    return rows


def _undamaged(rows: object, say: Callable[[str], None]) -> Rows:
    """The rows that an earlier session kept, as far as they can be read."""
    found = rows if isinstance(rows, dict) else {}
    whole = {
        key: row
        for key, row in found.items()
        if isinstance(row, dict) and str(row.get("chosen")) in dispatch.IMPLEMENTATIONS
    }
    if whole != rows:
        say(
            "run.json is damaged where it says which kernels the run uses: what is missing is chosen "
            "anew, so numbers may differ in their last bits from those of an undisturbed run"
        )
    return whole

"""Checkpoints of a run: `last/` to resume from, `best/` to use; both complete and atomic."""

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxharm.config import Json, RunConfig, to_json
from jaxharm.errors import InputError
from jaxharm.interfaces import Params, System, TrainState
from jaxharm.schema import HostBatch
from jaxharm.weights.checkpoint_checks import (
    check_model,
    check_shapes,
    quiet_orbax,
    reading,
    saved_tree,
    state_shapes,
)
from jaxharm.weights.integrity import DIGESTS, check_parts, check_record, digests, sealed
from jaxharm.weights.portable import MANIFEST_FILE, load_variables
from jaxharm.weights.same_run import DATASET, Changes, compare_runs

LAST, BEST, FAILED, DAMAGED = "last", "best", "failed", "damaged"
_ITEMS = ("state", "record")
_NETWORKS = ("params", "collections", "ema")
_FULL = ("No space left", "File too large", "Disk quota exceeded", "ENOSPC", "EFBIG", "EDQUOT")


class Checkpoints:
    """The checkpoint folders of one run, written asynchronously.

    A checkpoint holds the whole `TrainState` and a JSON record: config, training data, step,
    records consumed from the data stream, and the best value so far.
    """

    def __init__(
        self,
        workdir: Path,
        config: RunConfig,
        to_savers: Callable[[TrainState], TrainState],
        dataset: Json | None = None,
    ):
        """Opens the folders of the run `config` in `workdir`.

        `to_savers` views a state as the arrays to save (`training.parallel.to_savers`); `dataset`
        is the loader's description of the training data.
        """
        self._workdir, self._config, self._to_savers = workdir.resolve(), config, to_savers
        self._dataset = dataset
        self._last = _manager(self._workdir / LAST, config.checkpoint.keep)
        self._best = _manager(self._workdir / BEST, 1)

    def __enter__(self) -> Self:
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(quiet_orbax())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self._quiet:
            if error is None:
                self.wait()
            for manager in (self._last, self._best):
                # What a failed save left behind is raised again here; `error` tells it already.
                with contextlib.suppress(Exception) if error else contextlib.nullcontext():
                    manager.close()

    def newest_whole_step(self) -> int | None:
        """The newest step of `last/` whose checkpoint is what was saved; None where there is none.

        Newer ones that are not are moved to `damaged/`, with a warning.

        Raises:
            InputError: checkpoints are there, and none of them is whole.
        """
        steps = sorted(self._last.all_steps(), reverse=True)
        damages: dict[int, InputError] = {}
        for step in steps:
            try:
                self._check(step)
            except InputError as error:
                damages[step] = error
                continue
            for damaged, reason in damages.items():
                self._set_aside(damaged, step, str(reason))
            return step
        if damages:
            first = str(damages[steps[0]]).partition("; ")[0]
            raise InputError(
                f"{first}, and no other one in {self._workdir / LAST} is whole; delete that folder "
                "to start again"
            )
        return None

    def _check(self, step: int) -> None:
        """Reads all of `last/<step>`; InputError where it is damaged."""
        folder = self._workdir / LAST / str(step)
        record = self._record(step)
        with reading(folder):
            check_parts(record, _read_state(folder))

    def _set_aside(self, step: int, whole: int, error: str) -> None:
        """Moves the damaged `last/<step>`, so that the run can save its step once more."""
        place = self._workdir / DAMAGED / str(step)
        if jax.process_index() == 0:
            place.parent.mkdir(exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)  # an earlier one of the same step
            (self._workdir / LAST / str(step)).rename(place)
        multihost_utils.sync_global_devices(f"set aside {step}")
        self._last.reload()
        reason = error.partition("; ")[0]
        warnings.warn(
            f"{reason}; it was moved to {place}, and the run goes on from step {whole}",
            stacklevel=2,
        )

    def changes(self, step: int, system: System, allowed: Sequence[str] = ()) -> Changes:
        """How the run at hand differs from the one that wrote `last/<step>`.

        Raises:
            InputError: a difference that changes numbers and is not `allowed`; a damaged record.
        """
        return compare_runs(
            self._workdir / LAST / str(step),
            self._record(step),
            self._config,
            dataset=self._dataset,
            length_matters=system.length_matters,
            allowed=allowed,
        )

    def restore(self, step: int, target: TrainState) -> tuple[TrainState, Json]:
        """State and record of `last/<step>`, on the devices that `target` names.

        Raises:
            InputError: the checkpoint has other shapes, or is damaged.
        """
        folder = self._workdir / LAST / str(step)
        record = self._record(step)
        with reading(folder):
            saved = state_shapes(saved_tree(folder))
        check_shapes(folder, saved, state_shapes(target))
        with reading(folder):
            state = self._last.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
            ).state
        return state, record

    def _record(self, step: int) -> Json:
        with reading(self._workdir / LAST / str(step)):
            record: Json = self._last.restore(
                step, args=ocp.args.Composite(record=ocp.args.JsonRestore())
            ).record
            check_record(record)
        return record

    def save(self, state: TrainState, step: int, best: Json | None) -> None:
        """Starts writing `last/<step>`; `best` is the {"step", "value"} of the best evaluation."""
        self._save(self._last, state, step, best)

    def save_best(self, state: TrainState, step: int, best: Json) -> None:
        """Starts writing `best/<step>`, which replaces the earlier one once it is complete."""
        if step not in self._best.all_steps():  # a resumed run comes to the same step again
            self._save(self._best, state, step, best)

    def save_failed(self, state: TrainState, step: int) -> Path:
        """Writes `failed/<step>`, the last finite state of a run that diverged."""
        folder = self._workdir / FAILED
        with _manager(folder, 1) as manager:
            if step not in manager.all_steps():
                self._save(manager, state, step, None)
                manager.wait_until_finished()
        return folder / str(step)

    def wait(self) -> None:
        """Blocks until what was started is on disk; InputError where the disk is full."""
        for manager in (self._last, self._best):
            with self._writing(manager):
                manager.wait_until_finished()

    def _save(
        self,
        manager: ocp.CheckpointManager,
        state: TrainState,
        step: int,
        best: Json | None,
    ) -> None:
        arrays = self._to_savers(state)
        record = {
            "config": to_json(self._config),
            DATASET: self._dataset,
            "step": step,
            "records": step * self._config.data.batch_size,
            "best": dict(best) if best else None,
            DIGESTS: digests(vars(arrays)),
        }
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(sealed(record))
        )
        if jax.process_count() > 1:
            self.wait()  # orbax's barriers between processes know of one writer at a time
        with self._writing(manager):
            manager.save(step, args=items, force=True)

    @contextlib.contextmanager
    def _writing(self, manager: ocp.CheckpointManager) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            cause = disk_full_cause(error)
            if cause is None:
                raise
            with contextlib.suppress(OSError):
                manager.reload()
            step = manager.latest_step()
            kept = "no earlier one exists" if step is None else f"that of step {step} is kept"
            raise InputError(
                f"a checkpoint could not be written to {manager.directory} ({cause}); {kept}: "
                "free space there and run the same command again"
            ) from error


def check_writable(workdir: Path) -> None:
    """Makes the folder; InputError where it, or a file in it, cannot be written."""
    probe = workdir / f".writable-{os.getpid()}"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"1")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to the work folder {workdir} ({error.strerror or error}): "
            "choose another --workdir"
        ) from error


def disk_full_cause(error: BaseException | None) -> str | None:
    """What the system said where `error`, or an error behind it, means a full disk; else None."""
    while error is not None:
        cause = next((text for text in _FULL if text in str(error)), None)
        if cause is not None:
            return cause
        error = error.__cause__ or error.__context__
    return None


def load_for_eval(path: str | Path, system: System, sample_batch: HostBatch) -> TrainState:
    """The networks of a checkpoint as a state that `system.predict` can use; no optimizer.

    Args:
        path: a run's folder (its best checkpoint, else its last, else its weights), a folder of
            checkpoints, one checkpoint, or a weights folder.
        system: the system of the config under evaluation.
        sample_batch: any batch; only shapes and dtypes are read.

    Raises:
        InputError: nothing is there, it is damaged, or it is of another model or shape.
    """
    path = Path(path).resolve()
    target = jax.eval_shape(system.init, jax.random.key(0), sample_batch)
    state = TrainState(
        jnp.int32(0), jax.random.key(0), params={}, collections={}, opt_state={}, ema={}
    )
    folder = find_checkpoint(path)
    if folder is None:
        name, model_config, variables = load_variables(path)
        check_model(path, (name, to_json(model_config)), system)
        return jax.device_put(system.with_variables(state, variables))
    with reading(folder):
        manager = ocp.CheckpointManager(folder.parent, options=_options(None, read_only=True))
        record = manager.restore(
            int(folder.name), args=ocp.args.Composite(record=ocp.args.JsonRestore())
        ).record
        manager.close()
        check_record(record)
        networks = _read_state(folder, _NETWORKS)
        check_parts(record, networks)
    check_model(folder, (record["config"]["system"], record["config"]["model"]), system)
    state = state.replace(step=np.int32(record["step"]), **networks)
    # Only the deployed model must fit: a run may have trained it with other networks beside it.
    saved, wanted = (state_shapes(system.variables(s)) for s in (state, target))
    check_shapes(folder, saved, wanted)
    return jax.device_put(state)


def init_from(
    path: str | Path, system: System, state: TrainState, batch: HostBatch, mesh: Mesh
) -> TrainState:
    """`state` with the weights of another run or a weights folder; step and optimizer stay new."""
    variables = system.variables(load_for_eval(path, system, batch))
    state = system.with_variables(state, variables)
    return jax.device_put(state, NamedSharding(mesh, PartitionSpec()))


def find_checkpoint(path: Path) -> Path | None:
    """The checkpoint folder (`.../<step>`) that `path` stands for; None where it has none."""
    if (path / MANIFEST_FILE).is_file():
        return None
    if path.name.isdigit() and (path / "state").is_dir():
        return path
    for folder in (path / BEST, path / LAST, path):
        if folder.is_dir():
            steps = [int(item.name) for item in folder.iterdir() if item.name.isdigit()]
            if steps:
                return folder / str(max(steps))
    return None


def _manager(folder: Path, keep: int) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(folder, options=_options(keep), item_names=_ITEMS)


def _options(keep: int | None, *, read_only: bool = False) -> ocp.CheckpointManagerOptions:
    return ocp.CheckpointManagerOptions(
        max_to_keep=keep, cleanup_tmp_directories=not read_only, read_only=read_only
    )


def _read_state(folder: Path, parts: Sequence[str] | None = None) -> dict[str, Params]:
    """The parts of a checkpoint's state, all of them if None are named, as numpy arrays."""
    tree = saved_tree(folder)
    tree = {name: value for name, value in tree.items() if parts is None or name in parts}
    wanted = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    arguments = ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy, partial_restore=True)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        return reader.restore(folder / "state", args=arguments)

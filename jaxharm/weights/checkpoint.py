"""Checkpoints of a run: `last/` to resume from, `best/` to use; both complete and atomic."""

import contextlib
import errno
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxharm.config import Json, RunConfig, to_json
from jaxharm.errors import InputError
from jaxharm.interfaces import System, TrainState
from jaxharm.weights.checkpoint_checks import (
    check_shapes,
    manager_options,
    quiet_orbax,
    read_state,
    reading,
    state_shapes,
)
from jaxharm.weights.first_process import arrays_of_first, is_first, of_first
from jaxharm.weights.integrity import (
    DIGESTS,
    check_parts,
    check_record,
    digests,
    named_leaves,
    sealed,
)
from jaxharm.weights.same_run import DATASET, Changes, compare_runs

LAST, BEST, FAILED, DAMAGED = "last", "best", "failed", "damaged"
_ITEMS = ("state", "record")

_FULL = ("No space left", "File too large", "Disk quota exceeded", "ENOSPC", "EFBIG", "EDQUOT")


class Saved(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        folder: where it lies.
        step: steps that were done.
        record: what was saved beside the arrays.
        arrays: "part/name/..." -> numpy array; process 0 alone has them.
    """

    folder: Path
    step: int
    record: Json
    arrays: dict[str, np.ndarray]


class Checkpoints:
    """The checkpoint folders of one run, written asynchronously by process 0.

    A checkpoint holds the whole `TrainState` and a JSON record: config, training data, step,
    records consumed from the data stream, and the best value so far.
    """

    def __init__(self, workdir: Path, config: RunConfig, dataset: Json | None = None):
        """Opens the folders of the run `config` in `workdir`.

        `dataset` is the loader's description of the training data.
        """
        self._workdir, self._config, self._dataset = workdir.resolve(), config, dataset
        self._managers = {}
        if is_first():
            kept = {LAST: config.checkpoint.keep, BEST: 1}
            self._managers = {n: _manager(self._workdir / n, keep) for n, keep in kept.items()}

    def __enter__(self) -> Self:
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(quiet_orbax())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self._quiet:
            if error is None:
                self.wait()
            for manager in self._managers.values():
                # What a failed save left behind is raised again here; `error` tells it already.
                with contextlib.suppress(Exception) if error else contextlib.nullcontext():
                    manager.close()

    def newest(self) -> Saved | None:
        """The newest checkpoint of `last/` that is what was saved; None where there is none.

        Newer ones that are not are moved to `damaged/`, with a warning. Every process calls it.

        Raises:
            InputError: checkpoints are there, and none of them is whole.
        """
        found: list[Saved] = []

        def read() -> tuple[int, Json] | None:
            saved = self._newest_whole()
            if saved is None:
                return None
            found.append(saved)
            return saved.step, saved.record

        said = of_first(read)
        if said is None:
            return None
        step, record = said
        return found[0] if found else Saved(self._workdir / LAST / str(step), step, record, {})

    def _newest_whole(self) -> Saved | None:
        steps = sorted(self._managers[LAST].all_steps(), reverse=True)
        damages: dict[int, InputError] = {}
        for step in steps:
            try:
                saved = self._read(step)
            except InputError as error:
                damages[step] = error
                continue
            for damaged, reason in damages.items():
                self._set_aside(damaged, step, str(reason))
            return saved
        if damages:
            first = str(damages[steps[0]]).partition("; ")[0]
            raise InputError(
                f"{first}, and no other one in {self._workdir / LAST} is whole; delete that folder "
                "to start again"
            )
        return None

    def _read(self, step: int) -> Saved:
        """Reads all of `last/<step>`; InputError where it is damaged."""
        folder = self._workdir / LAST / str(step)
        with reading(folder):
            record: Json = (
                self._managers[LAST]
                .restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore()))
                .record
            )
            check_record(record)
            parts = read_state(folder)
            check_parts(record, parts)
        return Saved(folder, step, record, dict(named_leaves(parts)))

    def _set_aside(self, step: int, whole: int, error: str) -> None:
        """Moves the damaged `last/<step>`, so that the run can save its step once more."""
        place = self._workdir / DAMAGED / str(step)
        place.parent.mkdir(exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)  # an earlier one of the same step
        (self._workdir / LAST / str(step)).rename(place)
        self._managers[LAST].reload()
        reason = error.partition("; ")[0]
        warnings.warn(
            f"{reason}; it was moved to {place}, and the run goes on from step {whole}",
            stacklevel=2,
        )

    def changes(self, saved: Saved, system: System, allowed: Sequence[str] = ()) -> Changes:
        """How the run at hand differs from the one that wrote a checkpoint.

        Raises:
            InputError: a difference that changes numbers and is not `allowed`.
        """
        return compare_runs(
            saved.folder,
            saved.record,
            self._config,
            dataset=self._dataset,
            length_matters=system.length_matters,
            allowed=allowed,
        )

    def restored(self, saved: Saved, target: TrainState) -> TrainState:
        """The state of a checkpoint, on the devices that `target` names; every process calls it.

        Raises:
            InputError: the checkpoint has other shapes.
        """
        wanted = state_shapes(target)
        of_first(lambda: check_shapes(saved.folder, state_shapes(saved.arrays), wanted))
        leaves = jax.tree.leaves(target)
        here = [
            np.asarray(saved.arrays[name], _plain(leaf).dtype)
            if is_first()
            else np.zeros(_plain(leaf).shape, _plain(leaf).dtype)
            for name, leaf in zip(wanted, leaves, strict=True)
        ]
        placed = map(_placed, arrays_of_first(here), leaves)
        return jax.tree.unflatten(jax.tree.structure(target), list(placed))

    def save(self, state: TrainState, step: int, best: Json | None) -> None:
        """Starts writing `last/<step>`; `best` is the {"step", "value"} of the best evaluation."""
        if is_first():
            self._save(self._managers[LAST], state, step, best)

    def save_best(self, state: TrainState, step: int, best: Json) -> None:
        """Starts writing `best/<step>`, which replaces the earlier one once it is complete."""
        # A resumed run comes to the same step again.
        if is_first() and step not in self._managers[BEST].all_steps():
            self._save(self._managers[BEST], state, step, best)

    def save_failed(self, state: TrainState, step: int) -> Path:
        """Writes `failed/<step>`, the last finite state of a run that diverged."""
        folder = self._workdir / FAILED
        if is_first():
            with _manager(folder, 1) as manager:
                if step not in manager.all_steps():
                    self._save(manager, state, step, None)
                    manager.wait_until_finished()
        return folder / str(step)

    def wait(self) -> None:
        """Blocks until what was started is on disk; InputError where the disk is full."""
        for manager in self._managers.values():
            with self._writing(manager):
                manager.wait_until_finished()

    def _save(
        self,
        manager: ocp.CheckpointManager,
        state: TrainState,
        step: int,
        best: Json | None,
    ) -> None:
        # Numbers of this process, which are those of all: the state is replicated.
        arrays = jax.tree.map(_on_host, state)
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
        with self._writing(manager):
            _check_room(Path(manager.directory), arrays)
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


def check_writable(workdir: Path, folders: Sequence[str] = (), files: Sequence[str] = ()) -> None:
    """Makes the folder of a run.

    Args:
        workdir: the folder.
        folders, files: names of what the run will keep there.

    Raises:
        InputError: it, or a file in it, cannot be written, or something else has one of the names.
    """
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
    for name in folders:
        if (workdir / name).exists() and not (workdir / name).is_dir():
            raise InputError(f"{workdir / name} is a file where a run keeps a folder: move it away")
    for name in files:
        if (workdir / name).is_dir():
            raise InputError(f"{workdir / name} is a folder where a run keeps a file: move it away")


def _check_room(folder: Path, arrays: TrainState) -> None:
    """OSError of a full disk where the arrays of a checkpoint have no room.

    Of several arrays that find the disk full, orbax raises the first one's error, and the threads of
    the others print a traceback each.
    """
    needed = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(arrays))
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def disk_full_cause(error: BaseException | None) -> str | None:
    """What the system said where `error`, or an error behind it, means a full disk; else None."""
    while error is not None:
        cause = next((text for text in _FULL if text in str(error)), None)
        if cause is not None:
            return cause
        error = error.__cause__ or error.__context__
    return None


def _plain(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The array that is stored of a leaf: of a key for random numbers, its data."""
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    data: jax.ShapeDtypeStruct = jax.eval_shape(jax.random.key_data, leaf)
    return data


def _placed(value: np.ndarray, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    placed = jax.device_put(value, leaf.sharding)
    return placed if _plain(leaf) is leaf else jax.random.wrap_key_data(placed)


def _on_host(leaf: jax.Array) -> np.ndarray:
    """A copy in memory of the host: the step that follows gives the array's own memory away."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.array(leaf.addressable_data(0))


def _manager(folder: Path, keep: int) -> ocp.CheckpointManager:
    folder.mkdir(parents=True, exist_ok=True)
    # What a killed session was writing. Orbax would remove it in a thread that outlives a short run,
    # and fails loudly then.
    for unfinished in folder.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    return ocp.CheckpointManager(folder, options=manager_options(keep), item_names=_ITEMS)

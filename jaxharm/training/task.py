"""What is to be trained, and the compiled functions that do it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jax.sharding import Mesh

from jaxharm.config import Json, TrainConfig
from jaxharm.errors import InputError
from jaxharm.interfaces import System, TrainState
from jaxharm.ops import dispatch
from jaxharm.schema import HostBatch
from jaxharm.training import initial, parallel
from jaxharm.training.run_folder import RunFolder


class Evaluation(Protocol):
    """What the loop reads of an evaluation: subset -> metric -> value, "All" among the subsets."""

    @property
    def summary(self) -> Mapping[str, Json]:
        """The values."""
        ...

    @property
    def baseline(self) -> Mapping[str, Json]:
        """Those of the untouched composites."""
        ...


@dataclass(frozen=True)
class Task:
    """What is to be trained.

    Attributes:
        config: the run; `system` was made from it.
        system: its networks and losses.
        folder: of the run: last/, best/, weights/, metrics.jsonl, run.json, tensorboard/.
        make_batches: steps already taken -> this process's rows of the following global batches.
        evaluate: what predicts (host batch -> Output) -> evaluation; every process calls it.
        dataset: description of the training data, such as fingerprints; None: not compared.
        allow_changes: keys of the config that may differ from those of the run in `workdir`.
        profiled: steps whose profile is written to profile/.
    """

    config: TrainConfig
    system: System
    folder: RunFolder
    make_batches: Callable[[int], Iterator[HostBatch]]
    evaluate: Callable[[parallel.Trained], Evaluation] | None = None
    dataset: Json | None = None
    allow_changes: Sequence[str] = ()
    profiled: range = range(0)

    @property
    def workdir(self) -> Path:
        """The folder on this machine."""
        return self.folder.path


class Programs:
    """The compiled functions of a run, made once; runs that differ in their seed only share them.

    Attributes:
        mesh: the devices.
        step: see `parallel.launch`.
        predict: see `parallel.make_predict`.
        kernels: what `choose_kernels` returned; None before the first run is opened.
    """

    def __init__(self, task: Task):
        """Those of `task`; InputError where its batch does not fit the devices."""
        config, self._system = task.config, task.system
        self.mesh = parallel.make_mesh()
        parallel.check_batch_size(config.data.batch_size, config.accumulate, self.mesh)
        check_kernels(config.ops.implementation, config.parallel, self.mesh)
        self.step = parallel.launch(task.system.step, config.parallel, self.mesh)
        self.predict = parallel.make_predict(task.system, self.mesh)
        self.kernels: Json | None = None
        self._init: initial.Init | None = None

    def fresh(self, task: Task, batch: HostBatch) -> TrainState:
        """The state with which `task` starts anew."""
        mode = task.config.parallel
        self._init = self._init or initial.make_init(self._system, batch, self.mesh, mode)
        return initial.init_state(task.system, task.config.seed, batch, self.mesh, mode, self._init)


def check_kernels(implementation: str | None, mode: str, mesh: Mesh) -> None:
    """InputError where the compiler would have to split kernels over devices, which it cannot."""
    if mode in ("jit", "fsdp") and mesh.size > 1 and dispatch.is_compiled_kernel(implementation):
        raise InputError(
            f"ops.implementation={implementation!r} does not go with parallel={mode!r} on "
            f"{mesh.size} devices, since kernels cannot be split: set parallel to 'shard_map', or "
            "ops.implementation to 'reference'"
        )

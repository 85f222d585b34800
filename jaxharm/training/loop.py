"""The training loop. It knows the `System` interface and no paper.

Step n is dispatched before the metrics of step n-1 are fetched, so that the device never waits
for logging; evaluation and checkpoints are the only points where it may.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
from jax.sharding import Mesh

from jaxharm.config import Json, TrainConfig
from jaxharm.errors import InputError
from jaxharm.interfaces import Metrics, System, TrainState
from jaxharm.ops import dispatch
from jaxharm.schema import HostBatch, present
from jaxharm.training import parallel
from jaxharm.training.logging import RunLog, Window, note_operations, write_run_record
from jaxharm.training.preemption import Preemption
from jaxharm.training.prefetch import Placed, Prefetcher
from jaxharm.weights.checkpoint import (
    Checkpoints,
    check_writable,
    disk_full_cause,
    init_from,
)
from jaxharm.weights.portable import RUN_WEIGHTS, save_weights

_LOWER_IS_BETTER = ("fmse", "mse")


class Evaluation(Protocol):
    """What the loop reads of an evaluation: subset -> metric -> value, "All" among the subsets."""

    @property
    def summary(self) -> Mapping[str, Json]:
        """The values."""
        ...


class DivergedError(RuntimeError):
    """A loss, gradient or statistic stopped being finite."""


@dataclass(frozen=True)
class _Done:
    """A dispatched step whose metrics have not been read yet."""

    step: int
    metrics: Metrics
    batch: Placed


def train(
    config: TrainConfig,
    system: System,
    workdir: str | Path,
    make_batches: Callable[[int], Iterator[HostBatch]],
    evaluate: Callable[[parallel.Trained], Evaluation] | None = None,
    *,
    dataset: Json | None = None,
    allow_changes: Sequence[str] = (),
) -> TrainState:
    """Trains to `system.total_steps`, resuming from `workdir` where it holds a checkpoint.

    Args:
        config: the run; `system` was made from it.
        workdir: folder of the run: last/, best/, weights/, metrics.jsonl, run.json, tensorboard/.
        make_batches: steps already taken -> this process's rows of the following global batches.
        evaluate: what predicts (host batch -> Output) -> evaluation; every process calls it.
        dataset: description of the training data, such as fingerprints; None: not compared.
        allow_changes: keys of the config that may differ from those of the run in `workdir`.

    Returns:
        The last state. After SIGTERM that is the state of the step then under way, saved.

    Raises:
        InputError: the batch does not fit the devices, the folder is not writable, a checkpoint
            is damaged or of another run (`jaxharm.weights.same_run`), or the disk is full.
        DivergedError: a metric is not finite; the last finite state is saved in failed/.
    """
    workdir = Path(workdir)
    mesh = parallel.make_mesh()
    parallel.check_batch_size(config.data.batch_size, config.accumulate, mesh)
    check_writable(workdir)
    with _disk_full_explained(workdir), contextlib.ExitStack() as stack:
        preemption = stack.enter_context(Preemption())
        checkpoints = stack.enter_context(
            Checkpoints(workdir, config, parallel.to_savers(mesh), dataset)
        )
        start = checkpoints.latest_step() or 0
        # Before anything is written: a run that is refused is left as it was.
        changes = checkpoints.changes(start, system, allow_changes) if start else {}
        batches = Prefetcher(
            make_batches(start),
            lambda batch: parallel.put_batch(batch, config.parallel, mesh),
        )
        stack.callback(batches.close)
        log = RunLog(workdir, config, system.total_steps, start, active=jax.process_index() == 0)
        stack.callback(log.close)
        sample = batches.peek().host
        for key, change in changes.items():
            log.message(f"changed since the last session: {key} {change.old!r} -> {change.new!r}")
        state, best = _start(config, system, checkpoints, start, sample, mesh, log)
        if start >= system.total_steps:
            log.message(f"the run in {workdir} is finished ({start} steps); nothing to do")
            return state
        if jax.process_index() == 0:
            write_run_record(workdir, config, mesh, start, dataset, changes)
        run = _Run(config, system, workdir, mesh, checkpoints, log, evaluate, best)
        return run.steps(state, start, batches, preemption)


class _Run:
    """One session of a run: the loop and what it does between steps."""

    def __init__(
        self,
        config: TrainConfig,
        system: System,
        workdir: Path,
        mesh: Mesh,
        checkpoints: Checkpoints,
        log: RunLog,
        evaluate: Callable[..., Evaluation] | None,
        best: Json | None,
    ):
        self._config, self._system, self._workdir = config, system, workdir
        self._checkpoints, self._log, self._evaluate, self._best = checkpoints, log, evaluate, best
        self._step = parallel.launch(system.step, config.parallel, mesh)
        self._predict = parallel.make_predict(system, mesh)
        self._total = system.total_steps
        self._window = Window(config.data.batch_size)

    def steps(
        self, state: TrainState, start: int, batches: Prefetcher, preemption: Preemption
    ) -> TrainState:
        """Runs from `start` to the end, or to the step at which the process is asked to stop."""
        previous: _Done | None = None
        self._window.reset()
        for step in range(start + 1, self._total + 1):
            batch = next(batches)
            self._window.add_wait(batch.waited)
            if step == start + 1:
                state, metrics = self._first_step(state, batch)
            else:
                state, metrics = self._step(state, batch.arrays)
            if previous is not None:
                self._account(previous, state)
            previous = _Done(step, metrics, batch)
            stop = preemption.reached(step)
            if stop or step == self._total or self._due(step):
                self._account(previous, state)
                previous = None
                self._between_steps(state, step, batch, stop=stop)
                self._window.reset()
            if stop and step < self._total:
                self._checkpoints.wait()
                self._log.message(
                    f"stopped at step {step} on request, everything is saved; run the same command "
                    "again to resume"
                )
                return state
        self._checkpoints.wait()
        self._log.message(f"finished {self._total} steps; weights in {self._workdir / RUN_WEIGHTS}")
        return state

    def _first_step(self, state: TrainState, batch: Placed) -> tuple[TrainState, Metrics]:
        """Compiles the step and dispatches it, and says so: it may take minutes."""
        self._log.message("compiling the training step")
        started = time.perf_counter()
        state, metrics = self._step(state, batch.arrays)
        ops = dispatch.choices()
        named = "".join(f"; {op} by {' and '.join(names)}" for op, names in ops.items())
        self._log.message(f"compiled in {time.perf_counter() - started:.1f} s{named}")
        if jax.process_index() == 0:
            note_operations(self._workdir, ops)
        self._window.reset()  # or the first speed and ETA would be those of the compiler
        return state, metrics

    def _due(self, step: int) -> bool:
        """Whether evaluation, a checkpoint or images follow this step."""
        every = (
            self._config.checkpoint.every,
            self._config.eval.every if self._evaluate else 0,
            self._config.log.images_every,
        )
        return any(n and step % n == 0 for n in every)

    def _account(self, done: _Done, state: TrainState) -> None:
        """Reads the metrics of a step that has been dispatched; waits until it is done."""
        metrics = jax.device_get(done.metrics)
        bad = sorted(
            name
            for name, (total, count) in metrics.items()
            if not (math.isfinite(total) and math.isfinite(count))
        )
        if bad:
            self._diverged(done, bad, state)
        self._window.add(metrics)
        if done.step % self._config.log.every == 0 or done.step in (1, self._total):
            self._log.training(done.step, self._window)
            self._window.reset()

    def _diverged(self, done: _Done, bad: list[str], state: TrainState) -> None:
        folder = self._checkpoints.save_failed(state, done.step)
        indices = present(done.batch.host.index, "index").tolist()
        raise DivergedError(
            f"{', '.join(bad)} not finite at step {done.step} (samples {indices}); the last finite "
            f"state is in {folder}, the last regular checkpoint in {self._workdir / 'last'}"
        )

    def _between_steps(self, state: TrainState, step: int, batch: Placed, *, stop: bool) -> None:
        last, config = step == self._total, self._config
        if config.log.images_every and (last or step % config.log.images_every == 0):
            images: Any = self._predict(state, batch.host).image
            self._log.images(step, batch.host, images)
        due = last or (config.eval.every and step % config.eval.every == 0)
        if self._evaluate is not None and due:
            self._evaluate_and_keep_best(state, step)
        elif last:
            self._export(state, step)
        if last or stop or (config.checkpoint.every and step % config.checkpoint.every == 0):
            self._checkpoints.save(state, step, self._best)

    def _evaluate_and_keep_best(self, state: TrainState, step: int) -> None:
        assert self._evaluate is not None
        summary = self._evaluate(parallel.Trained(self._system, state, self._predict)).summary
        metric = self._config.checkpoint.best
        value = float(step if metric == "last" else summary["All"][metric])
        sign = 1 if metric in _LOWER_IS_BETTER else -1
        better = self._best is None or sign * value < sign * self._best["value"]
        if better and math.isfinite(value):
            self._best = {"step": step, "metric": metric, "value": value}
            self._checkpoints.save_best(state, step, self._best)
            self._export(state, step)
        kept = self._best is not None and self._best["step"] == step
        self._log.evaluation(step, summary, best=kept and metric != "last")

    def _export(self, state: TrainState, step: int) -> None:
        if jax.process_index() == 0:
            training = {"step": step, "best": self._best}
            save_weights(
                self._workdir / RUN_WEIGHTS,
                self._system.name,
                self._config.model,
                jax.device_get(self._system.variables(state)),
                {"source": "trained by jaxharm", "training": training},
            )


def _start(
    config: TrainConfig,
    system: System,
    checkpoints: Checkpoints,
    start: int,
    batch: HostBatch,
    mesh: Mesh,
    log: RunLog,
) -> tuple[TrainState, Json | None]:
    """The state to go on from: own checkpoint, else `init_from`, else random; and the best so far."""
    log.message(
        f"{mesh.size} x {mesh.devices.flat[0].device_kind} in {jax.process_count()} processes, "
        f"batch {config.data.batch_size} ({config.data.batch_size // mesh.size} per device, "
        f"accumulate {config.accumulate}), {config.parallel}, {config.precision}"
    )
    if start:
        target = parallel.abstract_state(system, batch, mesh)
        state, record = checkpoints.restore(start, target)
        log.message(f"resumed at step {start}")
        return state, record["best"]
    state = parallel.init_state(system, config.seed, batch, mesh)
    if config.init_from:
        state = init_from(config.init_from, system, state, batch, mesh)
        log.message(f"started from the weights of {config.init_from}")
    else:
        trained = [state.params[name] for name in state.opt_state]
        count = sum(leaf.size for leaf in jax.tree.leaves(trained))
        parts = "".join(f"; {part} from {place}" for part, place in system.loaded().items())
        log.message(
            f"started from random weights ({count:,} parameters, seed {config.seed}){parts}"
        )
    return state, None


@contextlib.contextmanager
def _disk_full_explained(workdir: Path) -> Iterator[None]:
    """Any error of a full disk, such as a log's, as a sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        cause = disk_full_cause(error)
        if cause is None:
            raise
        raise InputError(
            f"cannot write to {workdir} ({cause}); free space there and run the same command again "
            "to resume from the last checkpoint"
        ) from error

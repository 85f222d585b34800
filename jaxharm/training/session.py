"""What surrounds the steps of one run: its folder, log, evaluations, checkpoints, and its end."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxharm.config import Json
from jaxharm.errors import InputError
from jaxharm.interfaces import Metrics, Output, System, TrainState
from jaxharm.ops import dispatch
from jaxharm.schema import HostBatch, present
from jaxharm.training import initial, parallel
from jaxharm.training.clock import Clock, Watchdog, goodput_line
from jaxharm.training.kernel_choice import choose_kernels
from jaxharm.training.logging import (
    CURVE,
    RECORD,
    RunLog,
    Window,
    note_kernels,
    note_operations,
    note_time,
    noted_kernels,
    write_run_record,
)
from jaxharm.training.only_job import only_job
from jaxharm.training.prefetch import Placed, Prefetcher
from jaxharm.training.sharding import shardings
from jaxharm.training.task import Evaluation, Programs, Task
from jaxharm.weights.card import card_of_run
from jaxharm.weights.checkpoint import (
    Checkpoints,
    Saved,
    check_writable,
    disk_full_cause,
)
from jaxharm.weights.deployed import init_from
from jaxharm.weights.first_process import is_first, of_first
from jaxharm.weights.portable import RUN_WEIGHTS, save_weights
from jaxharm.weights.same_run import Changes

# What a run may choose its best state by, and whether lower is better; see `System.measures`.
_REFERENCE = {"fmse": True, "mse": True, "psnr": False, "fpsnr": False}
_LAST = "last"
_FOLDERS = ("last", "best", "failed", RUN_WEIGHTS, "tensorboard")
PROFILE = "profile"  # folder of a run, for TensorBoard or xprof


class DivergedError(RuntimeError):
    """A loss, gradient or statistic stopped being finite."""


@dataclass
class Session:
    """One session of a run, open; `opened` makes it.

    Attributes:
        task: what is trained.
        programs: by which.
        start: steps done before.
        checkpoints, log, batches, window: of the run.
        changes: settings that differ from the session before.
        clock: where the time of the session goes.
        watchdog: ends the job where it hangs.
        best: record of the best evaluation so far.
        tracing: whether a profile is being written.
    """

    task: Task
    programs: Programs
    start: int
    checkpoints: Checkpoints
    log: RunLog
    batches: Prefetcher
    window: Window
    changes: Changes
    clock: Clock
    watchdog: Watchdog
    best: Json | None = None
    tracing: bool = False

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.task.system.total_steps

    def begin(self, together: Sequence[int] = ()) -> None:
        """Writes run.json; `together` are the seeds that are trained in one program with this one."""
        if jax.process_index() == 0:
            write_run_record(
                self.task.workdir,
                self.task.config,
                self.programs.mesh,
                self.start,
                self.task.dataset,
                self.changes,
                together=together,
            )
            if self.programs.kernels:
                note_kernels(self.task.workdir, self.programs.kernels)

    def next_batch(self) -> Placed:
        """The batch of the next step."""
        with self.clock.during("input"):
            batch = next(self.batches)
        self.window.add_wait(batch.waited)
        return batch

    def compiled(self, seconds: float) -> None:
        """Reports that the first step was compiled and dispatched."""
        ops = dispatch.choices()
        named = "".join(f"; {op} by {' and '.join(names)}" for op, names in ops.items())
        self.log.message(f"compiled in {seconds:.1f} s{named}")
        if jax.process_index() == 0:
            note_operations(self.task.workdir, ops)
        self.window.reset()  # or the first speed and ETA would be those of the compiler

    def due(self, step: int) -> bool:
        """Whether evaluation, a checkpoint or images follow this step."""
        config = self.task.config
        every = (
            config.checkpoint.every,
            config.eval.every if self.task.evaluate else 0,
            config.log.images_every,
        )
        return any(n and step % n == 0 for n in every)

    def account(
        self, step: int, metrics: Metrics, batch: Placed, state: Callable[[], TrainState]
    ) -> None:
        """Reads the metrics of a step that has been dispatched; waits until it is done.

        Raises:
            DivergedError: one is not finite; `state`, the last finite one, is saved in failed/.
        """
        metrics = jax.device_get(metrics)
        bad = sorted(
            name
            for name, (total, count) in metrics.items()
            if not (math.isfinite(total) and math.isfinite(count))
        )
        if bad:
            self._diverged(step, bad, batch, state())
        self.window.add(metrics)
        if step % self.task.config.log.every == 0 or step in (1, self.total):
            self.log.training(step, self.window)
            self._note_time(step)
            self.window.reset()

    def _diverged(self, step: int, bad: list[str], batch: Placed, state: TrainState) -> None:
        folder = self.checkpoints.save_failed(state, step)
        indices = present(batch.host.index, "index").tolist()
        raise DivergedError(
            f"{', '.join(bad)} not finite at step {step} (samples {indices}); the last finite "
            f"state is in {folder}, the last regular checkpoint in {self.task.workdir / 'last'}"
        )

    def between_steps(self, state: TrainState, step: int, batch: Placed, *, stop: bool) -> None:
        """Images, evaluation and checkpoint after `step`, each where it is due."""
        last, config = step == self.total, self.task.config
        if config.log.images_every and (last or step % config.log.images_every == 0):
            images: Any = self.programs.predict(state, batch.host).image
            self.log.images(step, batch.host, images)
        due = last or (config.eval.every and step % config.eval.every == 0)
        if self.task.evaluate is not None and due:
            with self.clock.during("evaluate"):
                self._evaluate_and_keep_best(state, step, self.task.evaluate)
        with self.clock.during("save"):
            self._save(state, step, stop=stop)
        self._note_time(step)

    def _save(self, state: TrainState, step: int, *, stop: bool) -> None:
        last, every = step == self.total, self.task.config.checkpoint.every
        self.watchdog.moved(f"saving step {step}")
        if last and self.best is None:
            if self.task.evaluate is not None:
                metric = self.task.config.checkpoint.best
                self.log.message(f"{metric} was never finite: the last weights are exported")
            self._export(state, step)
        if last or stop or (every and step % every == 0):
            self.checkpoints.save(state, step, self.best)

    def stopped(self, step: int) -> None:
        """Waits for the checkpoints after a request to stop, and says how to resume."""
        self._keep_all()
        self.log.message(
            f"stopped at step {step} on request, everything is saved; run the same command "
            "again to resume"
        )

    def finished(self) -> None:
        """Waits for the checkpoints of the whole run, and says where its weights are."""
        self._keep_all()
        spent = self._note_time(self.total)
        if spent:
            self.log.message(goodput_line(spent))
        weights = self.task.folder.shown(RUN_WEIGHTS)
        self.log.message(f"finished {self.total} steps; weights in {weights}")
        self.task.folder.send()

    def _keep_all(self) -> None:
        self.watchdog.moved("waiting for the last checkpoint")
        with self.clock.during("save"):
            self.checkpoints.wait()
            self.task.folder.send()

    def _note_time(self, step: int) -> Json:
        """Writes to run.json where the time went so far; returns its summary."""
        if not is_first():
            return {}
        return note_time(self.task.workdir, step, self.clock.seconds())

    def profile(self, step: int) -> None:
        """Begins to write a profile before the first step that is to be profiled."""
        if is_first() and step in self.task.profiled and not self.tracing:
            jax.profiler.start_trace(str(self.task.workdir / PROFILE))
            self.tracing = True

    def profiled(self, step: int) -> bool:
        """Whether the steps that are profiled end with this one."""
        return step == max(self.task.profiled, default=0)

    def end_profile(self, step: int, *, last: bool) -> None:
        """Ends the profile after its last step, or with the `last` step of the session."""
        if self.tracing and (last or self.profiled(step)):
            jax.profiler.stop_trace()
            self.tracing = False
            place = self.task.folder.shown(PROFILE)
            self.log.message(f"profile of steps {self.task.profiled[0]} to {step} in {place}")

    def _evaluate_and_keep_best(
        self, state: TrainState, step: int, evaluate: Callable[[parallel.Trained], Evaluation]
    ) -> None:
        self.watchdog.moved(f"evaluating after step {step}")

        def predict(state: TrainState, batch: HostBatch) -> Output:
            output = self.programs.predict(state, batch)
            self.watchdog.moved(f"evaluating after step {step}")
            return output

        trained = parallel.Trained(self.task.system, state, predict)
        evaluation = evaluate(trained)
        summary = evaluation.summary
        metric = self.task.config.checkpoint.best
        value = float(step if metric == _LAST else summary["All"][metric])
        sign = 1 if _choices(self.task.system)[metric] else -1
        better = self.best is None or sign * value < sign * self.best["value"]
        if better and math.isfinite(value):
            self.best = {"step": step, "metric": metric, "value": value}
            self.checkpoints.save_best(state, step, self.best)
            self._export(state, step)
        kept = self.best is not None and self.best["step"] == step
        baseline = evaluation.baseline["All"]
        self.log.evaluation(step, summary, baseline, best=kept and metric != _LAST)

    def _export(self, state: TrainState, step: int) -> None:
        if jax.process_index() == 0:
            card = card_of_run(self.task.config, self.task.dataset, self.task.system.loaded())
            training = {"step": step, "best": self.best}
            save_weights(
                self.task.workdir / RUN_WEIGHTS,
                self.task.system.name,
                self.task.config.model,
                jax.device_get(self.task.system.variables(state)),
                {"source": "trained by jaxharm", "training": training, **card.entries()},
            )


@contextlib.contextmanager
def opened(task: Task, programs: Programs, label: str = "") -> Iterator[tuple[Session, TrainState]]:
    """Opens the run in its folder: a session, and the state that it begins with.

    Args:
        task: the run.
        programs: of the run, or of one that differs in its seed only.
        label: begins every line on the console.

    Raises:
        InputError: the best state is to be chosen by what is not measured, the folder is not
            writable or another job is in it, a checkpoint is damaged or of another run
            (`jaxharm.weights.same_run`), or, at any time, the disk is full.
    """
    config, workdir, mesh = task.config, task.workdir, programs.mesh
    choices, best = _choices(task.system), config.checkpoint.best
    if task.evaluate is not None and best not in choices:
        raise InputError(
            f"checkpoint.best={best!r} is not what {config.system} is evaluated by: set it to one "
            f"of {', '.join(choices)}"
        )
    of_first(lambda: check_writable(workdir, _FOLDERS, (CURVE, RECORD)))
    clock = Clock()
    with _disk_full_explained(workdir), contextlib.ExitStack() as stack:
        watchdog = stack.enter_context(Watchdog(config.log.hang_limit))

        def enter() -> None:  # in process 0; the others are of the same job
            stack.enter_context(only_job(workdir))

        of_first(enter)
        checkpoints = stack.enter_context(Checkpoints(workdir, config, task.dataset))
        saved = checkpoints.newest()
        start = saved.step if saved else 0
        # Before anything is written: a run that is refused is left as it was.
        changes = checkpoints.changes(saved, task.system, task.allow_changes) if saved else {}
        batches = Prefetcher(
            task.make_batches(start),
            lambda batch: parallel.put_batch(batch, config.parallel, mesh),
        )
        stack.callback(batches.close)
        active, total = jax.process_index() == 0, task.system.total_steps
        log = RunLog(workdir, config, total, start, active=active, label=label)
        stack.callback(log.close)
        first = batches.peek()
        for key, change in changes.items():
            log.message(f"changed since the last session: {key} {change.old!r} -> {change.new!r}")
        if programs.kernels is None:
            recorded = noted_kernels(workdir) if saved else {}
            watchdog.moved("trying kernels")
            programs.kernels = choose_kernels(task, mesh, first.host, recorded, log.message)
        rows = programs.kernels.get("rows", {})
        stack.enter_context(dispatch.settled({key: row["chosen"] for key, row in rows.items()}))
        window = Window(config.data.batch_size)
        session = Session(
            task, programs, start, checkpoints, log, batches, window, changes, clock, watchdog
        )
        state = _first_state(session, saved)
        yield session, state


def _choices(system: System) -> dict[str, bool]:
    """What the best state can be chosen by -> whether lower is better; "last" is the number of steps."""
    own = system.measures
    found = _REFERENCE if own is None else {k: c.lower_is_better for k, c in own.columns.items()}
    return {**found, _LAST: False}


def _first_state(session: Session, saved: Saved | None) -> TrainState:
    """The state to go on from: own checkpoint, else `init_from`, else random."""
    task, programs, log = session.task, session.programs, session.log
    config, system, mesh = task.config, task.system, programs.mesh
    batch = session.batches.peek().host
    log.message(
        f"{mesh.size} x {mesh.devices.flat[0].device_kind} in {jax.process_count()} processes, "
        f"batch {config.data.batch_size} ({config.data.batch_size // mesh.size} per device, "
        f"accumulate {config.accumulate}), {config.parallel}, {config.precision}"
    )
    if saved:
        target = initial.abstract_state(system, batch, mesh, config.parallel)
        state = session.checkpoints.restored(saved, target)
        log.message(f"resumed at step {saved.step}")
        session.best = saved.record["best"]
        return state
    state = programs.fresh(task, batch)
    if config.init_from:
        loaded = init_from(config.init_from, system, state, batch)
        state = jax.device_put(loaded, shardings(loaded, mesh, config.parallel))
        log.message(f"started from the weights of {config.init_from}")
    else:
        trained = [state.params[name] for name in state.opt_state]
        count = sum(leaf.size for leaf in jax.tree.leaves(trained))
        parts = "".join(f"; {part} from {place}" for part, place in system.loaded().items())
        log.message(
            f"started from random weights ({count:,} parameters, seed {config.seed}){parts}"
        )
    return state


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

"""The training loop. It knows the `System` interface and no paper.

Step n is dispatched before the metrics of step n-1 are fetched, so that the device never waits
for logging; evaluation and checkpoints are the only points where it may.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from jaxharm.config import Json, TrainConfig
from jaxharm.interfaces import DeviceBatch, Metrics, System, TrainState
from jaxharm.progress import progress
from jaxharm.schema import HostBatch
from jaxharm.training import parallel
from jaxharm.training.clock import told_while
from jaxharm.training.preemption import Preemption, lost_process_explained
from jaxharm.training.prefetch import Placed
from jaxharm.training.run_folder import RunFolder
from jaxharm.training.session import Session, opened
from jaxharm.training.sharding import collected
from jaxharm.training.task import Evaluation, Programs, Task

StatesT = TypeVar("StatesT")


class Program(Protocol[StatesT]):
    """One step of several runs at once, or of a single one."""

    def advance(
        self, states: StatesT, batches: Sequence[DeviceBatch]
    ) -> tuple[StatesT, Sequence[Metrics]]:
        """Dispatches the next step of every run; `states` are given away."""
        ...

    def of(self, states: StatesT, index: int) -> TrainState:
        """The state of one run, whole on every device; every process calls it."""
        ...


@dataclass(frozen=True)
class _OneRun:
    """The program of a single run, whose state is its `TrainState`."""

    programs: Programs

    def advance(
        self, states: TrainState, batches: Sequence[DeviceBatch]
    ) -> tuple[TrainState, Sequence[Metrics]]:
        state, metrics = self.programs.step(states, batches[0])
        return state, [metrics]

    def of(self, states: TrainState, index: int) -> TrainState:
        del index  # there is one
        return collected(states, self.programs.mesh)


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
        config, system, workdir, make_batches, evaluate, dataset, allow_changes: see
            `task.Task`.

    Returns:
        The last state. After SIGTERM that is the state of the step then under way, saved.

    Raises:
        InputError: the batch does not fit the devices, the folder is not writable, a checkpoint
            is damaged or of another run (`jaxharm.weights.same_run`), or the disk is full.
        DivergedError: a metric is not finite; the last finite state is saved in failed/.
    """
    task = Task(
        config,
        system,
        RunFolder(Path(workdir)),
        make_batches,
        evaluate,
        dataset,
        tuple(allow_changes),
    )
    return train_task(task, Programs(task))


def train_task(task: Task, programs: Programs) -> TrainState:
    """As `train`, by programs that are made already."""
    with lost_process_explained(), Preemption() as preemption:
        return train_until(preemption, task, programs)


def train_until(preemption: Preemption, task: Task, programs: Programs) -> TrainState:
    """As `train_task`, by programs that may have served another seed before, and are stopped alike."""
    with opened(task, programs) as (run, state):
        if run.start >= run.total:
            run.log.message(
                f"the run in {task.folder.shown('')} is finished ({run.start} steps); nothing to do"
            )
            return state
        run.begin()
        return run_steps(_OneRun(programs), [run], state, preemption)


@dataclass(frozen=True)
class _Done:
    """A dispatched step whose metrics have not been read yet; metrics and batches by run."""

    step: int
    metrics: Sequence[Metrics]
    batches: Sequence[Placed]


def run_steps(
    program: Program[StatesT],
    runs: Sequence[Session],
    states: StatesT,
    preemption: Preemption,
) -> StatesT:
    """Runs to the end, or to the step at which the process is asked to stop.

    Args:
        program: of one step of all runs.
        runs: they begin at the same step and differ in their seed only.
        states: with which they begin; given away.
        preemption: says when to stop.
    """
    first = runs[0]
    previous: _Done | None = None
    _reset_windows(runs)
    for run in runs:
        run.clock.enter("step")
    for step in range(first.start + 1, first.total + 1):
        for run in runs:
            run.watchdog.moved(f"in step {step}")
        first.profile(step)
        batches = [run.next_batch() for run in runs]
        advance = _compile_and_advance if step == first.start + 1 else _advance
        states, metrics = advance(program, runs, states, batches)
        if previous is not None:
            _account(program, runs, states, previous)
        previous = _Done(step, metrics, batches)
        stop = preemption.reached(step)
        if stop or step == first.total or first.due(step) or first.profiled(step):
            _account(program, runs, states, previous)
            previous = None
            for index, run in enumerate(runs):
                run.between_steps(program.of(states, index), step, batches[index], stop=stop)
            first.end_profile(step, last=stop or step == first.total)
            _reset_windows(runs)
        if stop and step < first.total:
            for run in runs:
                run.stopped(step)
            return states
    for run in runs:
        run.finished()
    return states


def _reset_windows(runs: Sequence[Session]) -> None:
    for run in runs:
        run.window.reset()


def _advance(
    program: Program[StatesT], runs: Sequence[Session], states: StatesT, batches: Sequence[Placed]
) -> tuple[StatesT, Sequence[Metrics]]:
    del runs
    return program.advance(states, [batch.arrays for batch in batches])


def _compile_and_advance(
    program: Program[StatesT], runs: Sequence[Session], states: StatesT, batches: Sequence[Placed]
) -> tuple[StatesT, Sequence[Metrics]]:
    """Compiles the step and dispatches it, and says so: it may take minutes."""
    doing = "compiling the training step"
    runs[0].log.message(doing)
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(told_while(doing, runs[0].log.message))
        stack.enter_context(progress(doing))
        for run in runs:
            run.watchdog.moved(doing)
            stack.enter_context(run.clock.during("compile"))
        advanced = _advance(program, runs, states, batches)
    for run in runs:
        run.compiled(time.perf_counter() - started)
    return advanced


def _account(
    program: Program[StatesT], runs: Sequence[Session], states: StatesT, done: _Done
) -> None:
    """Reads the metrics of a step that has been dispatched; waits until it is done."""
    for index, run in enumerate(runs):
        state = functools.partial(program.of, states, index)
        run.account(done.step, done.metrics[index], done.batches[index], state)

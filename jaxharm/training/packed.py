"""Several seeds of one run in one process: one after the other, or all at once in one program.

Either way the folder of every seed is that of a run of its own.
"""

import contextlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxharm.config import Packing, to_json
from jaxharm.errors import InputError
from jaxharm.interfaces import DeviceBatch, Metrics, TrainState
from jaxharm.training import parallel
from jaxharm.training.loop import run_steps, train_until
from jaxharm.training.preemption import Preemption, lost_process_explained
from jaxharm.training.session import DivergedError, Session, opened
from jaxharm.training.task import Programs, Task
from jaxharm.weights.same_run import differences


def train_seeds(tasks: Sequence[Task], packing: Packing) -> None:
    """Trains runs that differ in their seed only; each resumes from its own folder.

    Where "vmap" cannot be (seeds that stand at different steps, a step without a rule for batching,
    several processes), a line says why, and the seeds are trained by "process".

    Args:
        tasks: the runs, one of each seed.
        packing: "process": one after the other, by the same compiled programs, with the same bits as
            separate runs; "vmap": all at once, the step mapped over the seeds, with the same
            numbers up to the rounding of float32.

    Raises:
        InputError: the runs differ in more than the seed and the weights that they start from; and
            as `loop.train`.
        DivergedError: as `loop.train`, of the first seed that diverges; the others keep their
            checkpoints.
    """
    for other in tasks[1:]:
        _check_alike(tasks[0], other)
    programs = Programs(tasks[0])
    if packing == "vmap":
        reason = _train_together(tasks, programs)
        if reason is None:
            return
        if jax.process_index() == 0:
            print(f"{reason}: the seeds are trained one after the other", flush=True)
    with lost_process_explained(), Preemption() as preemption:
        for task in tasks:
            if jax.process_index() == 0:
                print(f"seed {task.config.seed}: {task.folder.shown('')}", flush=True)
            state = train_until(preemption, task, programs)
            # A request may also come with the last step, or between two seeds.
            if int(state.step) < task.system.total_steps or preemption.asked:
                return


def _check_alike(first: Task, other: Task) -> None:
    """Raises InputError unless one step serves both runs."""
    origins = [[*task.system.loaded().values(), task.config.init_from] for task in (first, other)]
    for key, change in differences(to_json(first.config), to_json(other.config)):
        start = change.old in origins[0] and change.new in origins[1]
        if key != "seed" and not start:
            raise InputError(
                f"seeds are trained together only where nothing else differs, but {key} is "
                f"{change.old!r} with seed {first.config.seed} and {change.new!r} with seed "
                f"{other.config.seed}: train them by separate commands"
            )


def _train_together(tasks: Sequence[Task], programs: Programs) -> str | None:
    """Trains all seeds in one program; or else returns the reason why that cannot be."""
    if jax.process_count() > 1:
        return "one program for all seeds needs a single process"
    if tasks[0].config.parallel == "fsdp":
        return "the states of several seeds are not split over devices (parallel=fsdp)"
    with Preemption() as preemption, contextlib.ExitStack() as stack:
        runs, states = [], []
        for task in tasks:
            run, state = stack.enter_context(
                opened(task, programs, label=f"seed {task.config.seed}: ")
            )
            runs.append(run)
            states.append(state)
        if len({run.start for run in runs}) > 1:
            places = ", ".join(f"seed {run.task.config.seed} at {run.start}" for run in runs)
            return f"the seeds stand at different steps ({places})"
        if runs[0].start >= runs[0].total:
            for run in runs:
                run.log.message(f"finished before ({run.start} steps)")
            return None
        program = _Together(tasks[0], programs.mesh)
        reason = program.refusal(states, runs)
        if reason is not None:
            return reason
        for run in runs:
            run.begin(together=[task.config.seed for task in tasks])
        stacked = program.stack(states)
        states.clear()  # or every state would be held twice
        try:
            run_steps(program, runs, stacked, preemption)
        except DivergedError as error:
            raise DivergedError(
                f"{error}; the other seeds go on from their last checkpoints with --pack process"
            ) from None
    return None


class _Together:
    """One step of every seed in one program; their states are stacked along a leading axis."""

    def __init__(self, task: Task, mesh: Mesh):
        self._step = parallel.launch_packed(task.system.step, task.config.parallel, mesh)
        replicated = NamedSharding(mesh, PartitionSpec())
        self._stack = jax.jit(_stacked, out_shardings=replicated)
        self._of = jax.jit(_indexed, out_shardings=replicated)

    def refusal(self, states: Sequence[TrainState], runs: Sequence[Session]) -> str | None:
        """Why the step cannot be mapped over the seeds; None where it can."""
        shapes = jax.eval_shape(_stacked, *states)
        batches = tuple(run.batches.peek().arrays for run in runs)
        try:
            self._step.lower(shapes, batches)
        # Whatever it is, a step that is broken by itself fails again, one seed at a time.
        except Exception as error:
            cause = str(error).split("\n")[0][:160] or type(error).__name__
            return f"the step of {runs[0].task.system.name} cannot be mapped over seeds ({cause})"
        return None

    def stack(self, states: Sequence[TrainState]) -> TrainState:
        """The states of all seeds as one."""
        stacked: TrainState = self._stack(*states)
        return stacked

    def advance(
        self, states: TrainState, batches: Sequence[DeviceBatch]
    ) -> tuple[TrainState, Sequence[Metrics]]:
        """See `loop.Program`."""
        return self._step(states, tuple(batches))

    def of(self, states: TrainState, index: int) -> TrainState:
        """See `loop.Program`."""
        state: TrainState = self._of(states, jnp.int32(index))
        return state


def _stacked(*states: TrainState) -> TrainState:
    stacked: TrainState = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return stacked


def _indexed(states: TrainState, index: jax.Array) -> TrainState:
    one: TrainState = jax.tree.map(lambda leaf: leaf[index], states)
    return one

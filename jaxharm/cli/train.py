"""Train a system. Running the same command again resumes where the run stopped.

Examples:
  jaxharm train --data NAME --workdir DIR
  jaxharm train --config MODEL/RUN --workdir DIR --overlay smoke --set data.data_dir=DATA
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import jax

from data_pipelines.loader import describe_sources, eval_batches, steps_per_epoch, train_batches
from data_pipelines.reading import located
from jaxharm.cli.command import run_module
from jaxharm.cli.run_arguments import (
    add_config_arguments,
    add_process_arguments,
    add_repeat_argument,
    config_epilog,
    config_of,
    join_processes,
    repeated,
)
from jaxharm.compiler import enable_compilation_cache, matmul_precision, save_memory_on_cpu
from jaxharm.config import Json, Packing, RunConfig
from jaxharm.errors import InputError
from jaxharm.evaluation.of_system import evaluate_system
from jaxharm.evaluation.result import Evaluation
from jaxharm.metrics import get_protocol
from jaxharm.ops.dispatch import override
from jaxharm.progress import tracked
from jaxharm.registry import make_system
from jaxharm.training import parallel
from jaxharm.training.loop import train_task
from jaxharm.training.packed import train_seeds
from jaxharm.training.run_folder import RunFolder, opened_folder
from jaxharm.training.session import DivergedError
from jaxharm.training.task import Programs, Task
from jaxharm.weights.same_run import differences

epilog = config_epilog


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add_config_arguments(parser)
    add_repeat_argument(parser)
    parser.add_argument(
        "--workdir",
        required=True,
        metavar="DIR",
        help="folder of the run: a path, or the address of a folder in a bucket, gs://... or s3://...",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="SEED",
        help="train the run with each of these seeds, in the folders seedSEED of --workdir; in --set, "
        "{seed} stands for the seed",
    )
    parser.add_argument(
        "--pack",
        choices=get_args(Packing),
        help="how several seeds are trained: one after the other in this process (the default; the "
        "same bits as separate runs), or all at once, the step mapped over them by vmap",
    )
    parser.add_argument(
        "--allow-change",
        action="append",
        default=[],
        metavar="KEY",
        help="a field of the config, such as optim.lr, or a group of them, that may differ from the "
        "run in --workdir, which goes on with it; may be repeated",
    )
    parser.add_argument(
        "--profile-steps",
        type=_steps,
        default=range(0),
        metavar="FIRST:LAST",
        help="write a profile of these steps to profile/ in --workdir, for xprof or TensorBoard",
    )
    add_process_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Trains; every process of a run calls it. Returns 1 where the loss was not finite."""
    if arguments.pack and not arguments.seeds:
        raise InputError("--pack says how several seeds are trained: name them with --seeds")
    runs = _runs(arguments)
    save_memory_on_cpu()
    enable_compilation_cache()
    try:
        config = runs[0].config
        with override(config.ops.implementation), matmul_precision(config.matmul_precision):
            join_processes(arguments)
            with opened_folder(arguments.workdir) as folder:
                tasks = [_task(run, arguments, folder) for run in runs]
                if arguments.seeds:
                    train_seeds(tasks, arguments.pack or "process")
                else:
                    train_task(tasks[0], Programs(tasks[0]))
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


@dataclass(frozen=True)
class _Run:
    """A run that is asked for.

    Attributes:
        config: of the run.
        part: its folder in --workdir; "" where that is the run's own.
        wanted: the description of the data that it must have.
    """

    config: RunConfig
    part: str = ""
    wanted: Json | None = None


def _runs(arguments: argparse.Namespace) -> list[_Run]:
    """The runs that the arguments name: one, or one for each of --seeds."""
    if not arguments.seeds:
        return [_run(arguments, "")]
    runs = []
    for seed in dict.fromkeys(arguments.seeds):
        own = [item.replace("{seed}", str(seed)) for item in arguments.set]
        one = argparse.Namespace(**{**vars(arguments), "set": [*own, f"seed={seed}"]})
        runs.append(_run(one, f"seed{seed}"))
    return runs


def _run(arguments: argparse.Namespace, part: str) -> _Run:
    if not arguments.from_run:
        return _Run(_located(config_of(arguments)), part)
    again = repeated(arguments)
    return _Run(_located(again.config), part, again.dataset)


def _located(config: RunConfig) -> RunConfig:
    """With the data sets' place in full: run.json is also read in other folders."""
    place = located(config.data.data_dir)
    return replace(config, data=replace(config.data, data_dir=place))


def _task(run: _Run, arguments: argparse.Namespace, folder: RunFolder) -> Task:
    """The run with its data sets, which are looked for now: a missing one costs no training."""
    config = run.config
    protocol = get_protocol(config.eval.protocol)
    place = {"process_index": jax.process_index(), "process_count": jax.process_count()}

    open_eval = functools.partial(
        eval_batches,
        config.eval.data,
        data_dir=config.data.data_dir,
        **config.eval.loading,
        **protocol.loading,
        **place,
    )

    def evaluation(trained: parallel.Trained) -> Evaluation:
        with open_eval() as batches:
            shown = tracked(batches, "evaluating", batches.total)
            return evaluate_system(trained.system, trained.variables(), trained, shown, protocol)

    open_eval().close()
    sets = describe_sources(config.data)
    if run.wanted is not None and run.wanted != sets:
        key, change = next(differences(run.wanted, sets))
        raise InputError(
            f"the data are not those of {arguments.from_run}: {key} was {change.old!r}, here it is "
            f"{change.new!r}; name the folder of the same data with --set data.data_dir=DIR"
        )
    steps = config.steps or max(1, round((config.epochs or 0) * steps_per_epoch(config.data)))
    system = make_system(config, total_steps=steps)
    best = config.checkpoint.best
    if system.measures is None and best in protocol.undefined:
        raise InputError(
            f"checkpoint.best={best!r}: the protocol {protocol.name} defines no {best}, so that no "
            "state would be the best; choose another with --set checkpoint.best=mse (or psnr, last)"
        )
    return Task(
        config,
        system,
        folder / run.part if run.part else folder,
        lambda start: train_batches(config.data, seed=config.seed, start=start, **place),
        evaluation,
        dataset=sets,
        allow_changes=arguments.allow_change,
        profiled=arguments.profile_steps,
    )


def _steps(text: str) -> range:
    """FIRST:LAST -> the steps between, both included."""
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST, such as 100:110")
    return range(int(first), int(last) + 1)


def main(argv: Sequence[str] | None = None) -> int:
    """`python train.py`: returns the exit status."""
    return run_module(
        sys.modules[__name__], sys.argv[1:] if argv is None else argv, prog="train.py"
    )

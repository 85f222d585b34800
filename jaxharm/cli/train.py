"""Train a system. Running the same command again resumes where the run stopped.

Example:
  jaxharm train --config MODEL/RUN --workdir DIR --overlay smoke --set data.data_dir=DATA
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from data_pipelines.loader import describe_sources, eval_batches, steps_per_epoch, train_batches
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
from jaxharm.config import Json, RunConfig
from jaxharm.errors import InputError
from jaxharm.evaluation.of_system import evaluate_system
from jaxharm.evaluation.result import Evaluation
from jaxharm.metrics import get_protocol
from jaxharm.ops.dispatch import override
from jaxharm.registry import make_system
from jaxharm.training import parallel
from jaxharm.training.loop import train
from jaxharm.training.session import DivergedError
from jaxharm.weights.same_run import differences

epilog = config_epilog


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add_config_arguments(parser)
    add_repeat_argument(parser)
    parser.add_argument("--workdir", required=True, type=Path, help="folder of the run")
    parser.add_argument(
        "--allow-change",
        action="append",
        default=[],
        metavar="KEY",
        help="a field of the config, such as optim.lr, or a group of them, that may differ from the "
        "run in --workdir, which goes on with it; may be repeated",
    )
    add_process_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Trains; every process of a run calls it. Returns 1 where the loss was not finite."""
    again = repeated(arguments) if arguments.from_run else None
    config = again.config if again else config_of(arguments)
    try:
        with override(config.ops.implementation), matmul_precision(config.matmul_precision):
            _train(config, arguments, again and again.dataset)
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _train(config: RunConfig, arguments: argparse.Namespace, wanted: Json | None) -> None:
    """Trains; `wanted` is the description of the data that the run must have."""
    save_memory_on_cpu()
    enable_compilation_cache()
    join_processes(arguments)
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
            return evaluate_system(trained.system, trained.variables(), trained, batches, protocol)

    open_eval().close()  # reports a missing data set before hours of training, not after
    sets = describe_sources(config.data)
    if wanted is not None and wanted != sets:
        key, change = next(differences(wanted, sets))
        raise InputError(
            f"the data are not those of {arguments.from_run}: {key} was {change.old!r}, here it is "
            f"{change.new!r}; name the folder of the same data with --set data.data_dir=DIR"
        )
    steps = config.steps or max(1, round((config.epochs or 0) * steps_per_epoch(config.data)))
    train(
        config,
        make_system(config, total_steps=steps),
        arguments.workdir,
        lambda start: train_batches(config.data, seed=config.seed, start=start, **place),
        evaluation,
        dataset=sets,
        allow_changes=arguments.allow_change,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """`python train.py`: returns the exit status."""
    return run_module(
        sys.modules[__name__], sys.argv[1:] if argv is None else argv, prog="train.py"
    )

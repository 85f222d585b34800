"""Trains a system; running the same command again resumes. See `python train.py --help`."""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.loader import describe_sources, eval_batches, steps_per_epoch, train_batches
from jaxharm.compiler import enable_compilation_cache, save_memory_on_cpu
from jaxharm.config import TrainConfig, load_config
from jaxharm.errors import run_command
from jaxharm.evaluation.evaluate import Evaluation, evaluate
from jaxharm.evaluation.padding import padded_predict
from jaxharm.metrics import get_protocol
from jaxharm.ops.dispatch import override
from jaxharm.papers.propih.exit_train import ExitHeadObjective, train_exit_head
from jaxharm.registry import make_system
from jaxharm.training import parallel
from jaxharm.training.loop import DivergedError, train


def run(args: argparse.Namespace) -> None:
    """Trains as the arguments say; every process of a run calls it."""
    config = load_config(args.config, args.overlay, args.set)
    with override(config.ops.implementation):
        _train(config, args)


def _train(config: TrainConfig, args: argparse.Namespace) -> None:
    save_memory_on_cpu()
    enable_compilation_cache()
    parallel.initialize_distributed(args.coordinator, args.num_processes, args.process_id)
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

    def evaluation(predict: parallel.Predict) -> Evaluation:
        with open_eval() as batches:
            return evaluate(padded_predict(predict, config.model), batches, protocol)

    open_eval().close()  # a missing data set is told now, not after hours of training
    if isinstance(config.objective, ExitHeadObjective):  # a phase that sees a fixed set once
        train_exit_head(config, args.workdir, open_eval)
        return
    sets = describe_sources(config.data)
    steps = config.steps or max(1, round((config.epochs or 0) * steps_per_epoch(config.data)))
    train(
        config,
        make_system(config, total_steps=steps),
        args.workdir,
        lambda start: train_batches(config.data, seed=config.seed, start=start, **place),
        evaluation,
        dataset=sets,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the arguments; returns the exit status."""
    parser = argparse.ArgumentParser(description="Train a system; run again to resume.")
    parser.add_argument("--config", required=True, help="file under configs/")
    parser.add_argument("--workdir", required=True, type=Path, help="folder of the run")
    parser.add_argument("--overlay", action="append", default=[], help="named change of the config")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--coordinator", help="address:port of process 0, several processes only")
    parser.add_argument("--num-processes", type=int)
    parser.add_argument("--process-id", type=int)
    args = parser.parse_args(argv)
    try:
        return run_command(lambda: run(args), user_errors=(DatasetValidationError,))
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

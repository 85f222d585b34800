"""Runs of the toy system on batches made in memory; also a command for tests that kill it."""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

if __name__ == "__main__":  # a command: the settings that conftest.py gives to tests
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
import orbax.checkpoint as ocp
from support.toy_system import ToyConfig, toy_config

from jaxharm.config import CheckpointConfig, DataConfig, EvalConfig, LogConfig, OptimConfig
from jaxharm.errors import run_command
from jaxharm.registry import make_system
from jaxharm.schema import Batch
from jaxharm.training.loop import train
from jaxharm.training.parallel import initialize_distributed


def toy_batch(step, batch_size, side=8, *, rows=slice(None)):
    """Batch number `step` of the endless toy stream; a function of the step alone."""
    rng = np.random.default_rng([7, step])
    target = rng.integers(0, 256, (batch_size, side, side, 3), dtype=np.uint8)
    mask = (rng.random((batch_size, side, side, 1)) > 0.4).astype(np.float32)
    composite = np.where(mask > 0, target // 2 + 20, target).astype(np.uint8)
    index = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int32)
    batch = Batch(composite, mask, target, index=index)
    return jax.tree.map(lambda value: value[rows], batch)


def toy_stream(batch_size, start=0, rows=slice(None)):
    step = start
    while True:
        yield toy_batch(step, batch_size, rows=rows)
        step += 1


def toy_evaluate(predict):
    """Foreground squared error on one fixed batch of odd length."""
    # What evaluation at other sizes needs; every process of a run must be able to get it.
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(predict.variables()))
    batch = toy_batch(10**6, 5)
    values = [
        {
            "All": {
                "fmse": float(np.mean(np.square(image - batch.target / np.float32(255))) * 255**2)
            }
        }
        for image in (predict(batch).image, batch.composite / np.float32(255))
    ]
    return SimpleNamespace(summary=values[0], baseline=values[1])


def run_config(steps=6, **changes):
    base = toy_config(
        steps=steps,
        data=DataConfig(batch_size=8),
        optim=OptimConfig(name="adam", lr=1e-2),
        eval=EvalConfig(every=2),
        checkpoint=CheckpointConfig(every=2, keep=2),
        log=LogConfig(every=1, images_every=4),
    )
    return dataclasses.replace(base, **changes)


def run(config, workdir, *, stream=toy_stream, evaluate=toy_evaluate):
    rows = config.data.batch_size // jax.process_count()
    mine = slice(jax.process_index() * rows, (jax.process_index() + 1) * rows)
    return train(
        config,
        make_system(config, total_steps=config.steps),
        workdir,
        lambda start: stream(config.data.batch_size, start, mine),
        evaluate,
    )


def saved(workdir, step=6, folder="last"):
    """Every array of `<folder>/<step>`, as bytes."""
    state = Path(workdir).resolve() / folder / str(step) / "state"
    tree = ocp.StandardCheckpointer().restore(state)
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}


def curve(workdir):
    """The rows of metrics.jsonl, in order, without what depends on the clock."""
    rows = [json.loads(line) for line in (Path(workdir) / "metrics.jsonl").open()]
    timing = ("images_per_second", "data_wait")
    return [{k: v for k, v in row.items() if k not in timing} for row in rows]


def _kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_in_checkpoint(workdir, step):
    """Watches for the unfinished folder of `step`'s checkpoint, and dies while it is there."""

    def watch():
        while not list(Path(workdir).glob(f"last/{step}.orbax-checkpoint-tmp*")):
            time.sleep(2e-4)
        _kill_self()

    threading.Thread(target=watch, daemon=True).start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir")
    parser.add_argument("--parallel", default="shard_map")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--features", type=int, default=ToyConfig().features)
    parser.add_argument("--kill-at-batch", type=int)
    parser.add_argument("--kill-in-checkpoint", type=int)
    parser.add_argument("--term-at-evaluation", type=int)
    parser.add_argument("--signal", default="SIGTERM")
    parser.add_argument("--disk-full-at-evaluation", type=int)
    parser.add_argument("--start-limit", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=0, help="how long a batch takes to read")
    arguments = parser.parse_args()
    for asked in ("SIGINT", "SIGHUP"):  # ignored where the tests were started in the background
        signal.signal(signal.Signals[asked], signal.SIG_DFL)
    return run_command(functools.partial(_run, arguments))


def _run(arguments):
    initialize_distributed(start_limit=arguments.start_limit)
    if arguments.kill_in_checkpoint is not None:
        _kill_in_checkpoint(arguments.workdir, arguments.kill_in_checkpoint)

    def stream(batch_size, start, rows):
        for step, batch in enumerate(toy_stream(batch_size, start, rows), start):
            if step == arguments.kill_at_batch:
                _kill_self()
            time.sleep(arguments.seconds)
            yield batch

    evaluations = itertools.count(1)

    def evaluate(predict):
        number = next(evaluations)
        if number == arguments.term_at_evaluation:
            os.kill(os.getpid(), signal.Signals[arguments.signal])
        if number == arguments.disk_full_at_evaluation:
            while not (Path(arguments.workdir) / "last" / "2").is_dir():
                time.sleep(1e-3)
            # No file may grow beyond this: what a full disk does, without needing one.
            resource.setrlimit(resource.RLIMIT_FSIZE, (6500, resource.RLIM_INFINITY))
        return toy_evaluate(predict)

    config = run_config(
        steps=arguments.steps,
        parallel=arguments.parallel,
        model=ToyConfig(features=arguments.features),
    )
    if arguments.disk_full_at_evaluation is not None:  # so that the checkpoint is what fails
        config = dataclasses.replace(
            config, log=LogConfig(every=1, images_every=0, tensorboard=False)
        )
    run(config, arguments.workdir, stream=stream, evaluate=evaluate)


if __name__ == "__main__":
    sys.exit(main())

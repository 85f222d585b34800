"""Times several seeds of a run, trained by separate commands and by one (`jaxharm train --seeds`).

    python benchmarks/packed_seeds.py --config MODEL/RUN --steps 60 --set data.data_dir=DATA

Every way starts with an empty cache of compiled programs and trains the same seeds. The whole time
holds start-up, compiling and the evaluation at the end. A step is that of all seeds together, as the
runs log it, without any of these. On a shared machine read the CPU-seconds. The last column is the
largest relative difference of a logged loss to that of the first way.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from jaxharm.config import Json
from jaxharm.errors import InputError, run_command

WAYS = ("separate", "process", "vmap")
_EVERY = 5  # steps of a logged row


@dataclass(frozen=True)
class Measured:
    """One way to train all seeds: seconds, and the logged losses of all seeds, in order."""

    wall: float
    cpu: float
    step: float
    losses: list[float]


def main() -> None:
    arguments = _parse()
    if arguments.steps < 3 * _EVERY:
        raise InputError(f"--steps {arguments.steps}: give at least {3 * _EVERY} to time them")
    print(
        f"{arguments.config}, {arguments.seeds} seeds, {arguments.steps} steps, "
        f"{os.cpu_count()} CPU cores"
    )
    print("way        whole, wall  whole, CPU   step of all seeds  loss apart by")
    first = None
    for way in arguments.ways:
        found = measure(way, arguments)
        first = first or found
        pairs = zip(found.losses, first.losses, strict=True)
        apart = max(abs(a - b) / abs(b) for a, b in pairs)
        print(
            f"{way:<9} {found.wall:10.1f} s  {found.cpu:8.1f} s  {found.step * 1e3:15.0f} ms  "
            f"{apart:13.1e}",
            flush=True,
        )


def measure(way: str, arguments: argparse.Namespace) -> Measured:
    """Trains all seeds in new folders."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        environment = {**os.environ, "JAXHARM_CACHE": str(Path(folder) / "cache")}
        start, before = time.perf_counter(), _cpu_of_children()
        for command in _commands(way, arguments, runs):
            done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
            if done.returncode:
                raise SystemExit(done.returncode)  # the command has said why
        wall, cpu = time.perf_counter() - start, _cpu_of_children() - before
        folders = [runs / f"seed{seed}" for seed in range(arguments.seeds)]
        curves = [_rows(run) for run in folders]
        each = [_step(run, rows) for run, rows in zip(folders, curves, strict=True)]
        # In one program the seeds take their steps at the same time, else in turn.
        step = statistics.fmean(each) if way == "vmap" else sum(each)
        return Measured(wall, cpu, step, [row["loss"] for rows in curves for row in rows])


def _commands(way: str, arguments: argparse.Namespace, runs: Path) -> list[list[str]]:
    # Evaluations and checkpoints on the way take the same time in every way.
    settings = [f"steps={arguments.steps}", f"checkpoint.every={arguments.steps}", "eval.every=0"]
    settings += [f"log.every={_EVERY}", "log.images_every=0"]
    shared = [sys.executable, "-m", "jaxharm", "train", "--config", arguments.config]
    shared += [f"--overlay={name}" for name in arguments.overlay]
    shared += [f"--set={item}" for item in [*arguments.set, *settings]]
    seeds = [str(seed) for seed in range(arguments.seeds)]
    if way == "separate":
        return [
            [*shared, f"--set=seed={seed}", "--workdir", str(runs / f"seed{seed}")]
            for seed in seeds
        ]
    return [[*shared, "--workdir", str(runs), "--pack", way, "--seeds", *seeds]]


def _rows(run: Path) -> list[Json]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    return [row for row in rows if row["kind"] == "train"]


def _step(run: Path, rows: list[Json]) -> float:
    """Median seconds of a step."""
    batch = json.loads((run / "run.json").read_text())["config"]["data"]["batch_size"]
    return statistics.median(batch / row["images_per_second"] for row in rows[1:])


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", required=True, help="a published config or a file")
    parser.add_argument("--steps", type=int, default=60, help="of every run")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--overlay", nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

"""Times our models beside their official code: the same weights, the same step, in one call.

    pip install torch torchvision kornia lion-pytorch
    git clone https://github.com/OWNER/NAME DIR/NAME       # for each repository that it names
    python benchmarks/against_official.py --repos DIR
    python benchmarks/against_official.py --repos DIR --out docs/measured/against_official.json \\
        --tables README.md docs/guides/one_gpu.md

Nothing of the official code is copied: its classes are imported from the checkouts in DIR. The
official networks get our weights; where the outputs of both sides, or the losses of the first
training step, differ, nothing is timed. Then both sides run in turns (ours, theirs, ours, theirs),
on the same number of threads, in float32. Times are medians of wall seconds; our compilation is
printed apart. A training step is that of the official training loop, both networks and optimizers
included; reading of data is left out. Memory is the peak of a process that does training steps and
nothing else, from its second step on, interpreter and libraries included. Without a checkout, ours
is timed alone.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from official_sides import (
    Ours,
    chosen_cases,
    conditions,
    finished,
    official,
    pictures,
    share_weights,
    use_device,
    use_threads,
)
from official_tables import write_table

from jaxharm.compiler import enable_compilation_cache, save_memory_on_cpu
from jaxharm.errors import InputError, run_command
from jaxharm.schema import HostBatch
from jaxharm.weights.official_code import OfficialCase, Peer

_HERE = Path(__file__).resolve()
# A quarter of a level of 8 bits; and a share of the first loss, which sums rounding errors.
_OUTPUT_LIMIT, _LOSS_LIMIT = 1e-3, 1e-4
_REST = 0.05  # seconds before each timed call, in which the other side's threads fall asleep


def main() -> None:
    """Renews tables from a file, or measures, prints as it goes, and writes what was asked for."""
    arguments = _parse()
    if arguments.from_json:
        write_table(_HERE.name, json.loads(arguments.from_json.read_text()), arguments.tables)
        return
    use_threads(arguments.threads, with_official=arguments.worker != "ours")
    use_device(arguments.device)
    if arguments.device == "cpu":
        save_memory_on_cpu()
    # The processes that measure memory find our programs compiled: the compiler keeps much memory.
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.worker:
            os.environ["JAXHARM_CACHE"] = folder
        enable_compilation_cache()
        _measure_all(arguments)


def _measure_all(arguments: argparse.Namespace) -> None:
    """Every case; or, in a process of its own, the times or the memory of one."""
    if arguments.worker:
        (case,) = chosen_cases(arguments.models)
        if arguments.worker == "times":
            arguments.out.write_text(json.dumps(measure(case, arguments)))
        else:
            print(peak_memory(case, arguments.worker, arguments.repos))
        return
    given = conditions(arguments.threads) | {"repeats": arguments.repeats}
    if arguments.device != "cpu":
        given["device"] = jax.devices()[0].device_kind
    found: dict[str, Any] = {"conditions": given, "cases": []}
    print(json.dumps(found["conditions"]))
    for case in chosen_cases(arguments.models):
        row = times(case, arguments)
        if arguments.device == "cpu":  # that of a GPU is not the process's own
            row["memory"] = memory(case, arguments, with_official="commit" in row)
            print("  memory   " + _shown(row["memory"], "MiB", 0), flush=True)
        found["cases"].append(row)
        if arguments.out:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    write_table(_HERE.name, found, arguments.tables)


def measure(case: OfficialCase, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row of the results, but for the memory."""
    size, count = case.size, case.batch
    config, batch, one = case.config(), pictures(count, size), pictures(1, size)
    print(
        f"\n{case.name}: {size}x{size}, forward pass batch 1, training step batch {count}",
        flush=True,
    )
    start = time.perf_counter()
    ours = Ours(config, batch)
    peer = official(case, arguments.repos, config)
    row: dict[str, Any] = {"name": case.name, "repository": case.repository, "remark": case.remark}
    row |= {"size": size, "batch": count}
    if peer is not None:
        share_weights(case, config, ours.variables(), peer)
        row["commit"] = _commit(case, arguments.repos)
    print(f"  weights made and shared in {time.perf_counter() - start:.1f} s")
    row |= compare(case, ours, peer, one, batch)
    for name, data, repeats in (
        ("forward", one, 2 * arguments.repeats),
        ("step", batch, arguments.repeats),
    ):
        sides: dict[str, Callable[[HostBatch], object]] = {"ours": getattr(ours, name)}
        if peer is not None:
            sides["official"] = _waiting(getattr(peer, name), arguments.device)
        row[name] = in_turns(sides, data, repeats)
        print(f"  {name:8s} " + _shown(row[name], "s", 3), flush=True)
    return row


def compare(
    case: OfficialCase, ours: Ours, peer: Peer | None, one: HostBatch, batch: HostBatch
) -> dict[str, Any]:
    """Runs each side once: seconds of our compilation, and how far the sides are apart.

    Raises:
        InputError: they do not agree, so that their times could not be compared.
    """
    start = time.perf_counter()
    image = np.asarray(case.result(ours.forward(one)))
    middle = time.perf_counter()
    loss = ours.step(batch)
    seconds = {"forward": middle - start, "step": time.perf_counter() - middle}
    shown = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    print(f"  first call of ours, with compilation: {shown}")
    row: dict[str, Any] = {"first_call": seconds}
    if peer is None:
        return row
    apart = float(np.max(np.abs(image - peer.forward(one))))
    theirs = peer.step(batch)
    losses = abs(loss - theirs) / abs(theirs)
    print(
        f"  largest difference of the images {apart:.1e}; of the first loss {losses:.1e} of {theirs:.4f}"
    )
    # Dropout draws other numbers on either side, so these losses cannot agree.
    if not apart <= _OUTPUT_LIMIT or not (losses <= _LOSS_LIMIT or case.draws):
        raise InputError(f"{case.name}: both sides differ, so times cannot be compared")
    return {**row, "image_difference": apart, "loss_difference": None if case.draws else losses}


def _waiting(run: Callable[[HostBatch], object], device: str) -> Callable[[HostBatch], object]:
    """`run`, and then the end of what it started."""

    def whole(batch: HostBatch) -> object:
        result = run(batch)
        finished(device)
        return result

    return whole


def in_turns(
    sides: dict[str, Callable[[HostBatch], object]], batch: HostBatch, repeats: int
) -> dict[str, float]:
    """Median seconds of each side, which take turns; every side has been called before."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            time.sleep(_REST)
            start = time.perf_counter()
            run(batch)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def times(case: OfficialCase, arguments: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own, so that all of its memory is free again afterwards."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run(_worker(case, arguments, "times", "--out", file.name), check=False)
        if done.returncode:
            raise InputError(f"{case.name} ended with status {done.returncode}; see above")
        row: dict[str, Any] = json.loads(Path(file.name).read_text())
    return row


def _worker(case: OfficialCase, arguments: argparse.Namespace, what: str, *more: str) -> list[str]:
    """The command that measures one thing of a case."""
    command = [sys.executable, str(_HERE), "--worker", what, "--models", case.name, *more]
    command += ["--threads", str(arguments.threads), "--repeats", str(arguments.repeats)]
    command += ["--device", arguments.device]
    return command + (["--repos", str(arguments.repos)] if arguments.repos else [])


def memory(
    case: OfficialCase, arguments: argparse.Namespace, *, with_official: bool
) -> dict[str, float]:
    """Peak MiB of a process for each side."""
    found = {}
    for side in ("ours", "official") if with_official else ("ours",):
        done = subprocess.run(
            _worker(case, arguments, side), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise InputError(
                f"{case.name}, memory of {side}: status {done.returncode} "
                f"{done.stderr.strip().splitlines()[-1:]}"
            )
        found[side] = float(done.stdout.split()[-1])
    return found


def peak_memory(case: OfficialCase, side: str, repos: Path | None) -> float:
    """Peak MiB that this process holds during training steps after the first."""
    config, batch = case.config(), pictures(case.batch, case.size)
    if side == "ours":
        run: Callable[[HostBatch], object] = Ours(config, batch).step
    else:
        peer = official(case, repos, config)
        if peer is None:
            raise InputError(f"{case.name} has no official side here")
        run = peer.step
    run(batch)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # gives back what is not in use (Linux with glibc)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (Linux)
    run(batch)
    run(batch)
    status = Path("/proc/self/status").read_text()
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak) / 1024


def _commit(case: OfficialCase, repos: Path | None) -> str:
    """The revision of a checkout; "" where it is no git repository."""
    checkout = case.checkout(repos)
    command = ["git", "-C", str(checkout and checkout.path), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _shown(row: dict[str, float], unit: str, digits: int) -> str:
    """Both sides, and how often ours goes into theirs."""
    shown = ", ".join(f"{name} {value:.{digits}f} {unit}" for name, value in row.items())
    return shown + (f", ratio {row['official'] / row['ours']:.2f}" if "official" in row else "")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repos", type=Path, help="folder with the official checkouts")
    parser.add_argument(
        "--models", nargs="+", default=[], help="default: all that have official code"
    )
    parser.add_argument("--repeats", type=int, default=7, help="training steps of each side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="of both sides; memory: cpu only"
    )
    parser.add_argument(
        "--tables", type=Path, nargs="+", default=[], help="Markdown files whose table is renewed"
    )
    parser.add_argument("--from-json", type=Path, help="measures nothing: renews tables from it")
    parser.add_argument("--worker", choices=["times", "ours", "official"], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

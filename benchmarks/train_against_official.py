"""Trains our models and their official code from the same weights on the same batches.

    pip install torch torchvision kornia lion-pytorch
    git clone https://github.com/OWNER/NAME DIR/NAME       # for each repository that it names
    python benchmarks/train_against_official.py --repos DIR
    python benchmarks/train_against_official.py --repos DIR --out docs/measured/train_against_official.json \\
        --tables docs/guides/one_gpu.md

For each model, 30 steps with plain SGD and 30 with the paper's optimizer, on generated pictures:
ours and the official training loop, in float32. Printed is the largest relative difference of the
losses over the steps. Training amplifies rounding errors. Where the difference exceeds
--float64-above, the official loop runs in float64 too: where ours is about as far from that as the
official loop in float32 is from itself, the difference is rounding.
"""

import argparse
import dataclasses
import gc
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from official_sides import (
    Ours,
    chosen_cases,
    conditions,
    official,
    pictures,
    share_weights,
    use_threads,
)
from official_tables import write_table

from jaxharm.compiler import enable_compilation_cache, save_memory_on_cpu
from jaxharm.config import OptimConfig, RunConfig
from jaxharm.errors import run_command
from jaxharm.schema import HostBatch
from jaxharm.weights.official_code import OfficialCase

_HERE = Path(__file__).resolve()


def main() -> None:
    """Prints a line per model and optimizer, and writes the curves."""
    arguments = _parse()
    if arguments.from_json:
        write_table(_HERE.name, json.loads(arguments.from_json.read_text()), arguments.tables)
        return
    use_threads(arguments.threads)
    save_memory_on_cpu()
    enable_compilation_cache()
    given = conditions(arguments.threads) | {"steps": arguments.steps}
    found: dict[str, Any] = {"conditions": given, "cases": []}
    for case in chosen_cases(arguments.models):
        if case.draws:
            print(f"{case.name}: left out, since dropout draws other numbers on either side")
            continue
        for optimizer in arguments.optimizers:
            found["cases"].append(compare(case, optimizer, arguments))
            if arguments.out:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    write_table(_HERE.name, found, arguments.tables)


def compare(case: OfficialCase, optimizer: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The loss curves of one model and optimizer, and how far they are apart."""
    start = time.perf_counter()
    make, size, count = case.small
    config = make()
    if optimizer == "sgd":
        rate = arguments.sgd_rate or case.sgd_rate
        config = dataclasses.replace(config, optim=OptimConfig("sgd", rate, b1=0.0))
    batches = [pictures(count, size, seed) for seed in range(arguments.steps)]
    ours = Ours(config, batches[0])
    weights = ours.variables()
    curves = {"ours": [ours.step(batch) for batch in batches]}
    del ours
    gc.collect()
    jax.clear_caches()
    row = {"name": case.name, "optimizer": config.optim.name, "lr": config.optim.lr}
    row |= {"size": size, "batch": count, "curves": curves}
    ends = f"{curves['ours'][0]:.4f} -> {curves['ours'][-1]:.4f}"
    print(
        f"{case.name}, {row['optimizer']} {row['lr']:g}, {size}x{size}, batch {count}: loss {ends}"
    )
    peer = official(case, arguments.repos, config)
    if peer is not None:
        share_weights(case, config, weights, peer)
        curves["official"] = [peer.step(batch) for batch in batches]
        row["difference"] = largest_difference(curves["ours"], curves["official"])
        print(f"  largest difference from the official losses {row['difference']:.1e}")
        if row["difference"] > arguments.float64_above:
            curves["official_float64"] = in_float64(case, config, weights, batches, arguments.repos)
            row["from_float64"] = {
                side: largest_difference(curves[side], curves["official_float64"])
                for side in ("ours", "official")
            }
            far = ", ".join(f"{side} {value:.1e}" for side, value in row["from_float64"].items())
            print(f"  from the official ones in float64: {far}")
    print(f"  {time.perf_counter() - start:.0f} s", flush=True)
    return row


def in_float64(
    case: OfficialCase,
    config: RunConfig,
    weights: Mapping[str, Any],
    batches: Sequence[HostBatch],
    repos: Path,
) -> list[float]:
    """The official losses from the same weights in double precision."""
    import torch

    torch.set_default_dtype(torch.float64)
    try:
        peer = official(case, repos, config)
        assert peer is not None
        for network in peer.networks.values():
            network.double()
        share_weights(case, config, weights, peer)
        return [peer.step(batch) for batch in batches]
    finally:
        torch.set_default_dtype(torch.float32)


def largest_difference(curve: list[float], other: list[float]) -> float:
    """Over the steps, |a-b| / |b|."""
    a, b = np.array(curve), np.array(other)
    return float(np.max(np.abs(a - b) / np.abs(b)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repos", type=Path, help="folder with the official checkouts")
    parser.add_argument(
        "--models", nargs="+", default=[], help="default: all that have official code"
    )
    kinds = ["sgd", "paper"]
    parser.add_argument("--optimizers", nargs="+", default=kinds, choices=kinds)
    parser.add_argument("--sgd-rate", type=float, help="learning rate of SGD; default: the case's")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--float64-above", type=float, default=1e-4, help="see above")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="JSON file for the curves")
    parser.add_argument(
        "--tables", type=Path, nargs="+", default=[], help="Markdown files whose table is renewed"
    )
    parser.add_argument("--from-json", type=Path, help="trains nothing: renews tables from it")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

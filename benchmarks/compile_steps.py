"""Compiles the training step of every model for whole machines, and says what came out.

    pip install 'jaxharm[compile]'
    python benchmarks/compile_steps.py --out build/steps                       # v5e:16x16 and h200:8
    python benchmarks/compile_steps.py --out build/steps --topologies v5e:4x4 --models MODEL ...

Each step is made by `jaxharm compile` in a process of its own, in bfloat16 with the machine's kernels, at
the config's global batch, or at the least one that fills the machine. Writes a JSON for each (as
`jaxharm compile --json` does, which benchmarks/scaling_model.py reads) and steps.md; the status is 1
where one fails or does not fit. Nothing is run: all figures are the compilers' own.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from published import main_configs

from jaxharm.chips.targets import CHIPS
from jaxharm.config_file import load_config
from jaxharm.errors import InputError, run_command

TOPOLOGIES = ("v5e:16x16", "h200:8")
KERNELS = {"tpu": "pallas_tpu", "cuda": "pallas_gpu"}


def chips_of(topology: str) -> int:
    """How many chips a machine has."""
    return math.prod(int(side) for side in topology.partition(":")[2].split("x"))


def filling(batch: int, accumulate: int, chips: int) -> int:
    """`batch` if it fills the chips, else the least batch that does."""
    least = chips * accumulate
    return batch if batch % least == 0 else max(1, -(-batch // least)) * least


def compiled(config: str, topology: str, file: Path, kernels: str | None) -> dict[str, Any]:
    """A row of the table; `failed` is what the command said where it failed."""
    loaded = load_config(config, [], [])
    batch = filling(loaded.data.batch_size, loaded.accumulate, chips_of(topology))
    command = [sys.executable, "-m", "jaxharm", "compile", "--config", config, "--step-only"]
    command += ["--topology", topology, "--json", str(file)]
    command += ["--set=precision=bfloat16", f"--set=data.batch_size={batch}"]
    command += [f"--set=ops.implementation={kernels}"] if kernels else []
    row: dict[str, Any] = {"config": config, "topology": topology, "batch": batch}
    row["batch of the config"] = loaded.data.batch_size
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    row["minutes"] = (time.monotonic() - start) / 60
    row["GiB of this machine"] = usage.ru_maxrss / 2**20
    if child.returncode or not file.is_file():
        row["failed"] = " ".join(text.split())[-300:]
        return row
    return row | json.loads(file.read_text())["training step"]


def described(row: dict[str, Any]) -> str:
    """A row in Markdown."""
    batch = str(row["batch"])
    if row["batch"] != row["batch of the config"]:
        batch += f" (config: {row['batch of the config']})"
    cells = [row["config"], row["topology"], batch]
    cost = f"{row['minutes']:.1f} min, {row['GiB of this machine']:.1f} GiB"
    if "failed" in row:
        return f"| {' | '.join([*cells, row['failed'], '', '', '', cost])} |"
    exchanged = row["collectives"]
    estimate = f"{row['seconds'] * 1e3:.1f} ms, {row['mfu']:.1%}" if "seconds" in row else "none"
    cells += [
        f"{row['memory']['needed'] / 2**30:.2f}",
        f"{exchanged['count']}, {exchanged['bytes'] / 1e6:.1f} MB",
        ", ".join(f"{count} {name}" for name, count in sorted(row["kernels"].items())) or "none",
        estimate,
        cost,
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    *("config", "machine", "global batch", "GiB a chip", "exchanges", "kernels"),
    *("estimate, share of peak", "to compile"),
)


def main() -> int:
    """Compiles all; returns the exit status."""
    options = _parse()
    known = main_configs()
    unknown = sorted(set(options.models) - set(known))
    if unknown:
        raise InputError(f"no model is called {', '.join(unknown)}; known: {', '.join(known)}")
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    bad = 0
    for topology in options.topologies:
        chip = CHIPS.get(topology.partition(":")[0])
        kernels = None if options.reference or chip is None else KERNELS[chip.platform]
        for model in options.models or known:
            name = f"{model}_{topology.replace(':', '_')}.json"
            row = compiled(known[model], topology, options.out / name, kernels)
            bad += "failed" in row or not row["fits"]
            lines.append(described(row))
            print(lines[-1], flush=True)
            (options.out / "steps.md").write_text("\n".join(lines) + "\n")
    return int(bad > 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for the figures")
    add("--topologies", nargs="+", default=TOPOLOGIES, metavar="MACHINE")
    add("--models", nargs="+", default=[], metavar="MODEL", help="default: all")
    add("--reference", action="store_true", help="jax.numpy instead of kernels")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

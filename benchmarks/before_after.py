"""Times the operations' jax.numpy forms in two checkouts of jaxharm, in turns.

    git worktree add ../before COMMIT
    python benchmarks/before_after.py --before ../before [--ops patch_norm] [--rounds 5]

Each round runs one process per checkout with the operations at a sixteenth of the pixels of
kernel_cases.py and a quarter of the batch, forward and gradient, float32. The table shows the least
milliseconds of a call over the rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jaxharm.errors import InputError, run_command

HERE = Path(__file__).resolve()


def times(ops: list[str], repeats: int) -> dict[str, float]:
    """Least milliseconds by operation, case and direction, in the jaxharm that this process has."""
    import jax
    import jax.numpy as jnp
    from kernel_cases import CASES

    found = {}
    for case in CASES:
        if ops and case.op not in ops:
            continue
        b, h, w, c = case.shape
        drawn = case.draw((max(1, b // 4), h // 4, w // 4, c))
        arrays = {name: jnp.asarray(value) for name, value in drawn.items()}

        def forward(arrays: Any, case: Any = case) -> Any:
            return case.run(arrays, implementation="reference")

        def gradient(arrays: Any, forward: Any = forward) -> Any:
            out, pullback = jax.vjp(forward, arrays)
            return pullback(jax.tree.map(jnp.ones_like, out))[0]

        for function in (forward, gradient):
            run = jax.jit(function)
            jax.block_until_ready(run(arrays))
            least = float("inf")
            for _ in range(repeats):
                start = time.perf_counter()
                jax.block_until_ready(run(arrays))
                least = min(least, time.perf_counter() - start)
            name = function.__name__
            found[f"{case.op} | {case.what} | {name}"] = least * 1e3
    return found


def measured(checkout: Path, ops: list[str], repeats: int) -> dict[str, float]:
    """`times` of a checkout, in a process of its own."""
    command = [sys.executable, str(HERE), "--worker", "--repeats", str(repeats)]
    command += ["--ops", *ops] if ops else []
    environment = {**os.environ, "PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InputError(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="the other checkout")
    parser.add_argument("--ops", nargs="+", default=[], help="only these operations")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20, help="calls in a round")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(times(arguments.ops, arguments.repeats)))
        return
    if arguments.before is None or not (arguments.before / "jaxharm").is_dir():
        raise InputError(f"--before {arguments.before} is no checkout of jaxharm")
    checkouts = {"before": arguments.before.resolve(), "after": HERE.parent.parent}
    least: dict[str, dict[str, float]] = {side: {} for side in checkouts}
    for _ in range(arguments.rounds):
        for side, checkout in checkouts.items():
            for case, ms in measured(checkout, arguments.ops, arguments.repeats).items():
                least[side][case] = min(ms, least[side].get(case, ms))
    print(
        "| operation | case | direction | before, ms | after, ms | ratio |\n|---|---|---|---|---|---|"
    )
    for case, before in least["before"].items():
        after = least["after"][case]
        print(f"| {case} | {before:.2f} | {after:.2f} | {after / before:.2f} |")


if __name__ == "__main__":
    raise SystemExit(run_command(main))

"""Measures the operations' implementations, as a share of the speed of a plain copy in the same run.

    python benchmarks/kernels.py --out build/kernels             # tables of times and errors
    python benchmarks/kernels.py --blocks --out build/kernels    # also tries the block sizes

Writes kernels.md and kernels.json. On a GPU or TPU the reference and that platform's kernels run;
on CPU only the reference is timed, at a sixteenth of the pixels, and the interpreted kernels give
their errors. "Must move" counts every input and every output once; the gradient's inputs are the
operation's and the upstream gradient. The error is the largest difference from the float32
reference, over the largest value, of the result or of any gradient.
"""

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from kernel_blocks import BLOCKS, BlockTable
from kernel_cases import CASES, Case

from jaxharm.errors import InputError, run_command
from jaxharm.ops import dispatch

_KERNELS = {
    "tpu": ("pallas_tpu",),
    "gpu": ("pallas_gpu", "pallas_mosaic_gpu"),
    "cpu": ("pallas_interpret",),
}
_COLUMNS = (
    *("op", "what", "shape", "dtype", "implementation", "direction", "blocks"),
    *("ms", "MB", "GB/s", "of copy", "error"),
)


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """Median time of a call."""
    # Several calls in a row hide the cost of starting one.
    jax.block_until_ready(run())
    start = time.perf_counter()
    jax.block_until_ready(run())
    together = max(1, int(0.02 / (time.perf_counter() - start)))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready([run() for _ in range(together)])
        times.append((time.perf_counter() - start) / together)
    return statistics.median(times)


def copy_speed(repeats: int, megabytes: int) -> float:
    """GB/s of reading and writing a large array."""
    x = jnp.ones((megabytes * 2**18,), jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / seconds(lambda: copy(x), repeats) / 1e9


def size_of(tree: Any) -> int:
    """Bytes of all arrays."""
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))


def error(found: Any, expected: Any) -> float:
    """Largest difference over the largest value, of the worst array."""

    def worst(a: jax.Array, b: jax.Array) -> float:
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        return float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-30))

    return max(jax.tree.leaves(jax.tree.map(worst, found, expected)))


class Bench:
    """One case in one dtype: its arrays, and its functions by implementation."""

    def __init__(self, case: Case, shape: tuple[int, int, int, int], dtype: str) -> None:
        self.case, self.shape, self.dtype = case, shape, dtype
        drawn = case.draw(shape)
        self.arrays = {name: jnp.asarray(value, dtype) for name, value in drawn.items()}
        out = jax.eval_shape(lambda a: case.run(a, implementation="reference"), self.arrays)
        self.upstream = jax.tree.map(
            lambda o: jnp.cos(jnp.arange(o.size, dtype=o.dtype)).reshape(o.shape), out
        )

    def functions(self, name: str) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
        """Direction -> (compiled function, arguments)."""

        def forward(arrays: Any) -> Any:
            return self.case.run(arrays, implementation=name)

        def gradient(arrays: Any, upstream: Any) -> Any:
            return jax.vjp(forward, arrays)[1](upstream)[0]

        return {
            "forward": (jax.jit(forward), (self.arrays,)),
            "gradient": (jax.jit(gradient), (self.arrays, self.upstream)),
        }

    def rows(
        self, name: str, *, copy: float, repeats: int, timed: bool, blocks: str = ""
    ) -> Iterator[dict[str, Any]]:
        """A row of the table per direction."""
        references = self.functions("reference")
        for direction, (function, arguments) in self.functions(name).items():
            found = function(*arguments)
            moved = size_of(arguments) + size_of(found)
            row: dict[str, Any] = dict.fromkeys(_COLUMNS, "")
            row |= {"op": self.case.op, "what": self.case.what, "dtype": self.dtype}
            row |= {"shape": "x".join(map(str, self.shape)), "implementation": name}
            row |= {"direction": direction, "blocks": blocks, "MB": round(moved / 1e6, 2)}
            if name != "reference":
                row["error"] = f"{error(found, references[direction][0](*arguments)):.1e}"
            if timed:
                took = seconds(lambda f=function, a=arguments: f(*a), repeats)
                row["ms"] = round(took * 1e3, 4)
                row["GB/s"] = round(moved / took / 1e9, 2)
                row["of copy"] = f"{moved / took / 1e9 / copy:.0%}"
            yield row


@contextmanager
def replaced(table: BlockTable, blocks: Any) -> Iterator[None]:
    """Runs with other block sizes than those of `configs.py`."""
    module = importlib.import_module(f"jaxharm.ops.{table.module}")
    before = getattr(module, table.name)
    setattr(module, table.name, (("trial", "any", blocks),))
    try:
        yield
    finally:
        setattr(module, table.name, before)


def measure(arguments: argparse.Namespace, platform: str, copy: float) -> Iterator[dict[str, Any]]:
    """All rows of the table, for the operations and sizes of the arguments."""
    timing = {"copy": copy, "repeats": arguments.repeats}
    for case in CASES:
        if arguments.ops and case.op not in arguments.ops:
            continue
        b, h, w, c = case.shape
        shape = case.shape if platform != "cpu" else (max(1, b // 4), h // 4, w // 4, c)
        tiny = (1, min(h, 24), min(w, 40), c)
        for dtype in arguments.dtypes:
            yield from Bench(case, shape, dtype).rows("reference", timed=True, **timing)
            on_cpu = platform == "cpu"
            kernel = Bench(case, tiny if on_cpu else shape, dtype)
            for name in _KERNELS[platform]:
                try:
                    yield from kernel.rows(name, timed=not on_cpu, **timing)
                except InputError as refusal:
                    print(f"{case.op} {case.what} {dtype}: {refusal}")
            if arguments.blocks and not on_cpu:
                yield from tried_blocks(kernel, platform, timing)


def tried_blocks(bench: Bench, platform: str, timing: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows for every block size on the list of this operation."""
    for table in BLOCKS:
        if bench.case.op not in table.ops or table.platform != platform:
            continue
        for blocks in table.candidates:
            with replaced(table, blocks):
                try:
                    yield from bench.rows(
                        _KERNELS[platform][0], timed=True, blocks=f"{table.name} {blocks}", **timing
                    )
                except Exception as failure:  # a block may exceed the device's memory
                    reason = str(failure).splitlines()[0]
                    print(f"{bench.case.op} {table.name} {blocks}: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", nargs="+", help="only these operations")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--blocks", action="store_true", help="try other block sizes as well")
    parser.add_argument("--out", type=Path, required=True, help="folder for kernels.md and .json")
    arguments = parser.parse_args()
    unknown = set(arguments.ops or ()) - {case.op for case in CASES}
    if unknown:
        raise InputError(f"no case for {', '.join(sorted(unknown))} in benchmarks/kernel_cases.py")
    device, platform = jax.devices()[0], dispatch.platform()
    copy = copy_speed(arguments.repeats, megabytes=64 if platform == "cpu" else 1024)
    rows = list(measure(arguments, platform, copy))
    about = {"device": device.device_kind, "platform": platform, "jax": jax.__version__}
    about |= {"copy GB/s": round(copy, 1)}
    lines = [", ".join(f"{key} {value}" for key, value in about.items()), ""]
    lines += ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    lines += ["| " + " | ".join(str(row[key]) for key in _COLUMNS) + " |" for row in rows]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "kernels.md").write_text("\n".join(lines) + "\n")
    (arguments.out / "kernels.json").write_text(json.dumps({**about, "rows": rows}, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(run_command(main))

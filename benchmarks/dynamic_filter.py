"""Compares dynamic filtering with the unfolded form: time and memory, both sides in one run.

    python benchmarks/dynamic_filter.py [--sizes 3 5] [--kernels per-channel shared] [--repeats 9]

Shape (4,128,128,64), float32. "ours" is jaxharm.ops.dynamic_filter, "jnp unfold" stacks the shifted
images, multiplies and sums, under jit, with autodiff's gradient; "torch unfold" is the same in
PyTorch (torch.nn.functional.unfold), where it is installed. The candidates run in turns; the table
has the median of wall seconds, and of CPU-seconds (on a shared machine, read those). "extra" is the
memory that a call needs besides arguments and results, as XLA plans it; for PyTorch it is not
measured.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.errors import run_command
from jaxharm.ops import dynamic_filter

_SHAPE = (4, 128, 128, 64)
_MIB = 2**20


def main() -> None:
    arguments = _parse()
    device = jax.devices()[0]
    print(f"{device.device_kind} ({device.platform}), {_SHAPE}, float32, {arguments.repeats} turns")
    print(
        f"{'':34s}{'wall s':>10s}{'CPU s':>10s}{'of jnp':>10s}{'of torch':>10s}{'extra MiB':>12s}"
    )
    for size in arguments.sizes:
        for kind in arguments.kernels:
            arrays = draw(size, _SHAPE[-1] if kind == "per-channel" else 1)
            for what in ("forward", "forward+backward"):
                report(f"K={size} {kind} {what}", arrays, what != "forward", arguments)


def report(title: str, arrays: tuple, backward: bool, arguments: argparse.Namespace) -> None:
    """Measures and prints one case."""
    runs: dict[str, Callable[[], Any]] = {}
    extra: dict[str, int] = {}
    for name, function in (("ours", dynamic_filter), ("jnp unfold", unfolded)):
        runs[name], extra[name] = compiled(function, arrays, backward)
    peer = None if arguments.no_torch else torch_run(arrays, backward)
    if peer is not None:
        runs["torch unfold"] = peer
    wall, cpu = take_turns(runs, arguments.repeats)
    print(title)
    for name in runs:
        cells = f"{wall[name]:10.3f}{cpu[name]:10.3f}{wall[name] / wall['jnp unfold']:10.2f}"
        cells += f"{wall[name] / wall['torch unfold']:10.2f}" if peer is not None else f"{'-':>10s}"
        cells += f"{extra[name] / _MIB:12.0f}" if name in extra else f"{'-':>12s}"
        print(f"  {name:32s}{cells}")


def unfolded(x: jax.Array, kernels: jax.Array) -> jax.Array:
    """The plain form: every pixel's neighborhood as an array, times the kernels, summed."""
    k, (_, h, w, _) = kernels.shape[-1], x.shape
    border = (k - 1) // 2
    padded = jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    taps = [padded[:, u : u + h, v : v + w] for u in range(k) for v in range(k)]
    patches = jnp.stack(taps, -1).reshape(*x.shape, k, k)
    return jnp.sum(patches * kernels, (-2, -1))


def compiled(
    function: Callable[..., jax.Array], arrays: tuple, backward: bool
) -> tuple[Callable[[], Any], int]:
    """A call of the compiled function (and its gradients), and the bytes of its temporaries."""

    def both(x: jax.Array, kernels: jax.Array, upstream: jax.Array) -> Any:
        if not backward:
            return function(x, kernels)
        y, pullback = jax.vjp(function, x, kernels)
        return y, *pullback(upstream)

    arguments = jax.device_put(arrays)
    program = jax.jit(both).lower(*arguments).compile()
    temporaries = program.memory_analysis().temp_size_in_bytes
    return lambda: jax.block_until_ready(program(*arguments)), temporaries


def torch_run(arrays: tuple, backward: bool) -> Callable[[], Any] | None:
    """A call of the PyTorch form, in its own layout; None where PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    x, kernels, upstream = arrays
    size = kernels.shape[-1]
    b, h, w, c = x.shape
    groups = kernels.shape[3]
    ours = kernels.transpose(0, 3, 4, 5, 1, 2).reshape(b, groups, size * size, h, w)
    tensors = [
        torch.from_numpy(np.ascontiguousarray(a))
        for a in (x.transpose(0, 3, 1, 2), ours, upstream.transpose(0, 3, 1, 2))
    ]
    image, filters, grad = tensors
    image.requires_grad_(backward)
    filters.requires_grad_(backward)

    def run() -> Any:
        patches = torch.nn.functional.unfold(image, size, padding=(size - 1) // 2)
        y = (patches.reshape(b, c, size * size, h, w) * filters).sum(2)
        return torch.autograd.grad(y, [image, filters], grad) if backward else y

    return run


def take_turns(
    runs: dict[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Medians of wall and CPU seconds per name, after one warm-up call each."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            if turn:
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - start_cpu)
    return tuple({n: statistics.median(v) for n, v in t.items()} for t in (wall, cpu))  # type: ignore[return-value]


def draw(size: int, groups: int) -> tuple[np.ndarray, ...]:
    """Image, kernels and an upstream gradient."""
    rng = np.random.default_rng(0)
    shapes = (_SHAPE, (*_SHAPE[:3], groups, size, size), _SHAPE)
    x, kernels, upstream = (rng.standard_normal(shape, np.float32) for shape in shapes)
    return x, kernels, upstream


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[3, 5])
    kinds = ["per-channel", "shared"]
    parser.add_argument("--kernels", nargs="+", default=kinds, choices=kinds)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--no-torch", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

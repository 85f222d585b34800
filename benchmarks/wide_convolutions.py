"""Compares Winograd's form of wide 3x3 convolutions on a CPU with the direct one, both in one run.

    python benchmarks/wide_convolutions.py [--batch 4] [--repeats 7]

Layers as the models have them, float32: the convolution, its input gradient and its kernel gradient,
each as it is done elsewhere ("direct": XLA's convolution; for the kernel gradient, the matrix products
that take its place) and as in `jaxharm.ops.winograd`. The forms run in turns; the table has medians of
wall milliseconds. "error" is the root mean square difference from float64 of the convolution, whose
outputs have a deviation of 1.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.compiler import save_memory_on_cpu
from jaxharm.errors import run_command
from jaxharm.ops import conv, winograd

_LAYERS = (  # side, channels, features
    (32, 1024, 1024),
    (32, 1024, 512),
    (64, 512, 256),
    (64, 256, 256),
    (32, 192, 192),
    (64, 256, 128),
    (64, 128, 128),
    (128, 64, 64),
    (256, 32, 32),
    (16, 512, 512),
    (8, 512, 512),
)
_PADDING = ((1, 1), (1, 1))
Form = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def main() -> None:
    """Prints a row per layer."""
    arguments = _parse()
    save_memory_on_cpu()
    device = jax.devices()[0]
    print(f"{device.device_kind} ({device.platform}), batch {arguments.batch}, direct / winograd")
    titles = ("forward", "input gradient", "kernel gradient", "error")
    print(f"{'side, channels':22s}" + "".join(f"{title:>22s}" for title in titles))
    for side, channels, features in _LAYERS:
        arrays = draw(arguments.batch, side, channels, features)
        cells = [
            " / ".join(f"{seconds * 1e3:.1f}" for seconds in take_turns(forms, arrays, arguments))
            for forms in FORMS.values()
        ]
        cells.append(" / ".join(f"{error:.1e}" for error in errors(arrays)))
        title = f"{side}, {channels} -> {features}"
        print(f"{title:22s}" + "".join(f"{cell:>22s}" for cell in cells), flush=True)


def direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's convolution."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), _PADDING, dimension_numbers=layout)


FORMS: dict[str, tuple[Form, Form]] = {
    "forward": (
        lambda x, kernel, grad: direct(x, kernel),
        lambda x, kernel, grad: winograd.convolve(x, kernel, _PADDING),
    ),
    "input gradient": (
        lambda x, kernel, grad: jax.vjp(lambda x: direct(x, kernel), x)[1](grad)[0],
        lambda x, kernel, grad: winograd.input_grad(kernel, grad, _PADDING),
    ),
    "kernel gradient": (
        lambda x, kernel, grad: conv.kernel_grad_products(x, grad, kernel.shape, 1, _PADDING),
        lambda x, kernel, grad: winograd.kernel_grad(x, grad, _PADDING),
    ),
}


def take_turns(forms: tuple[Form, ...], arrays: Any, arguments: argparse.Namespace) -> list[float]:
    """Median seconds of each form, after one call that compiles."""
    programs = [jax.jit(form) for form in forms]
    seconds: list[list[float]] = [[] for _ in forms]
    for turn in range(arguments.repeats + 1):
        for program, found in zip(programs, seconds, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(program(*arrays))
            if turn:
                found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in seconds]


def errors(arrays: tuple[jax.Array, ...]) -> list[float]:
    """How far both forms are from float64, over the first 8x8 pixels of the first image."""
    x, kernel, _ = arrays
    exact = np.pad(np.asarray(x[0], np.float64), ((1, 1), (1, 1), (0, 0)))
    taps = np.asarray(kernel, np.float64)
    want = np.array(
        [[np.tensordot(exact[i : i + 3, j : j + 3], taps, 3) for j in range(8)] for i in range(8)]
    )
    found = [np.asarray(jax.jit(form)(*arrays)[0, :8, :8]) for form in FORMS["forward"]]
    return [float(np.sqrt(np.mean(np.square(y - want)))) for y in found]


def draw(batch: int, side: int, channels: int, features: int) -> tuple[jax.Array, ...]:
    """Input, kernel and upstream gradient; outputs have a deviation of 1."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, side, side, channels), np.float32)
    kernel = rng.standard_normal((3, 3, channels, features), np.float32) / np.sqrt(9 * channels)
    grad = rng.standard_normal((batch, side, side, features), np.float32)
    return jnp.asarray(x), jnp.asarray(kernel, jnp.float32), jnp.asarray(grad)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

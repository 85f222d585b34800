"""Time of harmonizing a large picture with the parametric models: prepare, network, rendering.

    python -m jaxharm.papers.pih.benchmark [--size 3840x2160] [--bits 16] [--models pih_light]

The networks look at 512x512, the picture is rendered at full size (a noise image, the foreground an
ellipse over half of it); weights are random, which costs the same as trained ones. Prepare is the
checks of the arrays and the reduction to 512x512. Files and compilation are not counted.

Wall times mean little on a shared machine: there, read the CPU-seconds (summed over threads). The
official code is measured beside ours by `benchmarks/against_official.py`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import unflatten_dict

from jaxharm import registry
from jaxharm.errors import InputError, run_command
from jaxharm.inference.harmonize import load_inputs
from jaxharm.interfaces import Inputs, ModelConfig, Params
from jaxharm.papers.pih.full_size import render_full_size
from jaxharm.papers.pih.parameters import Parameters
from jaxharm.papers.pih.runner import Seen, network_inputs, predict_arrays
from jaxharm.weights.portable import variable_shapes

MODELS = ("pih", "pih_light")
Result = TypeVar("Result")
_STAGES = ("prepare", "network", "rendering")


def main() -> None:
    """Prints a table of the stages."""
    arguments = _parse()
    try:
        width, height = (int(side) for side in arguments.size.split("x"))
    except ValueError:
        raise InputError(f"--size {arguments.size} is not like 3840x2160") from None
    images = random_images(height, width, np.uint8 if arguments.bits == 8 else np.uint16)
    print(f"{width}x{height}, {arguments.bits} bits, {arguments.repeats} repeats; medians of wall")
    print("seconds, least CPU-seconds\n")
    print(f"{'model':20s}" + "".join(f"{name:>18s}" for name in (*_STAGES, "total")))
    for name in arguments.models:
        wall, cpu = measure(name, images, arguments.repeats)
        cells = [f"{w:.3f} ({c:.3f})" for w, c in zip(wall, cpu, strict=True)]
        cells.append(f"{sum(wall):.3f} ({sum(cpu):.3f})")
        print(f"{name:20s}" + "".join(f"{cell:>18s}" for cell in cells))


def measure(
    name: str, images: tuple[np.ndarray, ...], repeats: int
) -> tuple[list[float], list[float]]:
    """Median wall seconds and least CPU-seconds of each stage, after one warm-up round."""
    model = registry.create_model(name)
    config = registry.model_config(name)
    variables = jax.device_put(random_variables(name, config))
    times: list[list[tuple[float, float]]] = [[] for _ in _STAGES]
    for _ in range(repeats + 1):
        inputs, small = _timed(times[0], partial(prepare, images, config.default_size))
        parameters = _timed(times[1], partial(predict, model, variables, small))
        _timed(times[2], partial(render_full_size, inputs, parameters))
    # The first round compiles.
    wall = [statistics.median(w for w, _ in found[1:]) for found in times]
    return wall, [min(cpu for _, cpu in found[1:]) for found in times]


def _timed(found: list[tuple[float, float]], run: Callable[[], Result]) -> Result:
    """Runs and appends (wall seconds, CPU-seconds) to `found`."""
    start, start_cpu = time.perf_counter(), time.process_time()
    result = run()
    found.append((time.perf_counter() - start, time.process_time() - start_cpu))
    return result


def prepare(images: tuple[np.ndarray, ...], side: int) -> tuple[Inputs, Seen]:
    """Checked arrays, and what the network sees of them."""
    composite, mask, background = images
    inputs = load_inputs(composite, mask, background)
    return inputs, network_inputs(inputs, side)


def predict(model: nn.Module, variables: Params, small: Seen) -> Parameters:
    """Curves and shading map, on the host: copying them waits for the network to finish."""
    curves, shading = predict_arrays(model, variables, *small)
    return Parameters(np.asarray(curves), np.asarray(shading))


def random_images(height: int, width: int, dtype: type) -> tuple[np.ndarray, ...]:
    """Composite, mask (a soft-edged ellipse over half the picture) and background."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    images = rng.integers(0, top, (2, height, width, 3), dtype, endpoint=True)
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
    distance = np.sqrt(rows[:, None] ** 2 + columns**2)
    mask = np.clip((0.8 - distance) * 50, 0, 1) * top
    return images[0], mask.astype(dtype), images[1]


def random_variables(name: str, config: ModelConfig) -> dict[str, Params]:
    """Weights of the right shapes and of plausible size."""
    rng = np.random.default_rng(0)
    flat: dict[str, np.ndarray] = {}
    for path, shape in variable_shapes(name, config).items():
        if path.rpartition("/")[2] in ("var", "scale"):
            flat[path] = np.ones(shape, np.float32)
        else:
            scale = 1 / np.sqrt(max(1.0, float(np.prod(shape[:-1]))))
            flat[path] = rng.normal(0, scale, shape).astype(np.float32)
    return unflatten_dict(flat, sep="/")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--size", default="3840x2160", help="WIDTHxHEIGHT of the picture")
    parser.add_argument("--bits", type=int, default=8, choices=[8, 16])
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

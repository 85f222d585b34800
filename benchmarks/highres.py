"""Time of harmonizing a large picture with the parametric models: prepare, network, rendering.

    python benchmarks/highres.py [--size 3840x2160] [--bits 16] [--models pih_light]

The networks look at 512x512, the picture is rendered at full size (a noise image, the foreground an
ellipse over half of it); weights are random, which costs the same as trained ones. Prepare is the
checks of the arrays and the reduction to 512x512. Files and compilation are not counted.

Wall times mean little on a shared machine: there, read the CPU-seconds (summed over threads). The
figures of the official code are from two idle cores, for 3840x2160 in 8 bits.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxharm import registry
from jaxharm.errors import InputError, run_command
from jaxharm.inference.harmonize import load_inputs
from jaxharm.papers.pih.parameters import Parameters
from jaxharm.papers.pih.runner import network_inputs, predict_arrays, render
from jaxharm.weights.portable import variable_shapes

# Wall seconds: network, rendering, total; None where no figure exists.
OFFICIAL: dict[str, tuple[float | None, float | None, float]] = {
    "pih": (1.10, 0.83, 2.26),
    "pih_light": (None, None, 1.38),
}
_STAGES = ("prepare", "network", "rendering")


def main() -> None:
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
        network, rendering, total = OFFICIAL[name]
        cells = ["-", *("-" if s is None else f"{s:.2f}" for s in (network, rendering, total))]
        print(f"{'  official code':20s}" + "".join(f"{cell:>18s}" for cell in cells))
        print(f"{'  ratio of totals':20s}" + f"{sum(wall) / total:>72.2f}")


def measure(name: str, images: tuple, repeats: int) -> tuple[list[float], list[float]]:
    """Median wall seconds and least CPU-seconds of each stage, after one warm-up round."""
    model = registry.create_model(name)
    config: Any = model.config
    variables = jax.device_put(random_variables(name, config))
    wall: list[list[float]] = [[] for _ in _STAGES]
    cpu: list[list[float]] = [[] for _ in _STAGES]

    def timed(stage: int, run: Callable[[], Any]) -> Any:
        start, start_cpu = time.perf_counter(), time.process_time()
        result = run()
        wall[stage].append(time.perf_counter() - start)
        cpu[stage].append(time.process_time() - start_cpu)
        return result

    def predict(small: tuple) -> Parameters:
        curves, shading = predict_arrays(model, variables, *small)
        return Parameters(np.asarray(curves), np.asarray(shading))

    for _ in range(repeats + 1):
        inputs, small = timed(0, lambda: prepare(images, config.default_size))
        parameters = timed(1, lambda small=small: predict(small))
        timed(2, lambda inputs=inputs, parameters=parameters: render(inputs, parameters))
    return [statistics.median(times[1:]) for times in wall], [min(times[1:]) for times in cpu]


def prepare(images: tuple, side: int) -> tuple:
    """Checked arrays, and what the network sees of them."""
    inputs = load_inputs(*images)
    return inputs, network_inputs(inputs, side)


def random_images(height: int, width: int, dtype: type) -> tuple[np.ndarray, ...]:
    """Composite, mask (a soft-edged ellipse over half the picture) and background."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    images = rng.integers(0, top, (2, height, width, 3), dtype, endpoint=True)
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
    distance = np.sqrt(rows[:, None] ** 2 + columns**2)
    mask = np.clip((0.8 - distance) * 50, 0, 1) * top
    return images[0], mask.astype(dtype), images[1]


def random_variables(name: str, config: Any) -> dict[str, Any]:
    """Weights of the right shapes and of plausible size."""
    rng = np.random.default_rng(0)
    tree: dict[str, Any] = {}
    for path, shape in variable_shapes(name, config).items():
        *parents, leaf = path.split("/")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        if leaf in ("var", "scale"):
            node[leaf] = np.ones(shape, np.float32)
        else:
            scale = 1 / np.sqrt(max(1, np.prod(shape[:-1])))
            node[leaf] = np.float32(rng.normal(0, scale, shape))
    return tree


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(OFFICIAL), choices=list(OFFICIAL))
    parser.add_argument("--size", default="3840x2160", help="WIDTHxHEIGHT of the picture")
    parser.add_argument("--bits", type=int, default=8, choices=[8, 16])
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

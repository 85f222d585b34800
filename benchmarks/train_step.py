"""Measures time, memory and arithmetic of one training step (or of inference) on random data.

    python benchmarks/train_step.py --config configs/PAPER/RUN.py --batch 4 --size 256
    python benchmarks/train_step.py --config ... --forward-only --precision bfloat16

One device, without the input pipeline. Wall times mean little on a shared machine: there, read the
CPU-seconds (summed over threads). FLOPs are those XLA counts in the compiled program: nothing
inside hand-written kernels, and the body of a loop once. On CPU the kernel gradients of
convolutions are such loops (jaxharm/ops/conv.py), so there a training step counts too low.
"""

import argparse
import dataclasses
import functools
import json
import math
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxharm import registry
from jaxharm.compiler import matmul_precision, save_memory_on_cpu
from jaxharm.config import TrainConfig
from jaxharm.config_file import load_config
from jaxharm.errors import run_command
from jaxharm.interfaces import DeviceBatch, TrainState
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import override
from jaxharm.registry import make_system
from jaxharm.schema import Batch, HostBatch, Pair

_MIB = 2**20


def main() -> None:
    arguments = _parse()
    if not arguments.forward_only:
        save_memory_on_cpu()
    config = load_config(arguments.config, arguments.overlay, arguments.set)
    if arguments.precision:
        config = dataclasses.replace(config, precision=arguments.precision)
    with override(config.ops.implementation), matmul_precision(config.matmul_precision):
        _report(config, arguments)


def _report(config: TrainConfig, arguments: argparse.Namespace) -> None:
    size = arguments.size or config.data.image_size
    batch = jax.device_put(random_batch(config, arguments.batch, size))
    system = make_system(config, total_steps=1000)
    state = jax.jit(system.init)(jax.random.key(0), batch)
    function: Callable[..., Any]
    if arguments.forward_only:
        function = jax.jit(system.predict)
    else:
        function = jax.jit(functools.partial(system.step, axis_name=None), donate_argnums=0)
    start = time.perf_counter()
    compiled = function.lower(state, batch).compile()
    compile_seconds = time.perf_counter() - start

    def run() -> None:
        nonlocal state
        result = compiled(state, batch)
        if not arguments.forward_only:
            state = result[0]
        jax.block_until_ready(result)

    wall, cpu = measure(run, arguments.repeats)
    what = "inference" if arguments.forward_only else "training step"
    device = jax.devices()[0]
    title = f"{config.system}, {what}, batch {arguments.batch}, {size}x{size}, {config.precision}"
    print(title)
    print(f"device            {device.device_kind} ({device.platform})")
    print(f"compilation       {compile_seconds:.1f} s")
    print(f"wall time         {wall * 1e3:.1f} ms (median of {arguments.repeats})")
    print(f"throughput        {arguments.batch / wall:.2f} images/s")
    print(f"CPU time          {cpu:.2f} CPU-s (least of {arguments.repeats})")
    flops = compiled.cost_analysis()["flops"]
    print(f"arithmetic        {flops / 1e9:.1f} GFLOP, {flops / wall / 1e9:.1f} GFLOP/s")
    figures = {"title": title, "seconds": wall, "images_per_second": arguments.batch / wall}
    figures |= {"compile_seconds": compile_seconds, "flops": flops, "kernels": dispatch.choices()}
    if arguments.peak_tflops:
        figures["mfu"] = flops / wall / arguments.peak_tflops / 1e12
        print(f"MFU               {figures['mfu']:.1%}")
    memory = compiled.memory_analysis()
    figures["temporaries"] = memory.temp_size_in_bytes
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    print(f"state and batch   {held / _MIB:.0f} MiB")
    print(f"temporaries       {memory.temp_size_in_bytes / _MIB:.0f} MiB at their peak (by XLA)")
    if not arguments.forward_only:
        stored = stored_activations(system, state, batch)
        gradients = _bytes(state.params)
        share = memory.temp_size_in_bytes / (stored + gradients)
        print(
            f"  kept for sure   {stored / _MIB:.0f} MiB activations, {gradients / _MIB:.0f} MiB "
            f"gradients: the peak is {share:.2f} times these"
        )
    print(f"process, peak     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def random_batch(config: TrainConfig, count: int, size: int) -> HostBatch:
    """A batch of the training contract: noise images, an ellipse as foreground."""
    rng = np.random.default_rng(0)
    grid = np.linspace(-1, 1, size, dtype=np.float32)
    ellipse = (grid[:, None] ** 2 / 0.5 + grid**2 / 0.3 < 1).astype(np.float32)
    names = ["composite", "target"]
    if registry.get(config.system).needs_background:
        names.append("background")
    images = {name: rng.integers(0, 256, (count, size, size, 3), np.uint8) for name in names}
    mask = np.tile(ellipse[None, :, :, None], (count, 1, 1, 1))
    unpaired = None
    if config.data.unpaired.enabled:  # the second stream: other pictures of the same kind
        unpaired = Pair(images["target"], mask, images.get("background"))
    return Batch(**images, mask=mask, unpaired=unpaired, index=np.arange(count, dtype=np.int32))


def stored_activations(system: Any, state: TrainState, batch: DeviceBatch) -> int:
    """Bytes that differentiating the network's output keeps from the forward pass.

    Arrays of a parameter's shape count as that parameter, which is held anyhow.
    """

    def pullback(state: TrainState, batch: DeviceBatch) -> Any:
        variables = dict(system.variables(state))
        params, inputs = variables.pop("params"), system.prepare(batch)

        def image(params: Any) -> jax.Array:
            output, _ = system.module().apply(
                {"params": params, **variables},
                inputs.composite,
                inputs.mask,
                background=inputs.background,
                train=True,
                mutable=list(variables),
                rngs={"dropout": jax.random.key(0)},
            )
            return output.image

        return jax.vjp(image, params)[1]

    parameters = Counter((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state.params))
    kept = jax.tree.leaves(jax.eval_shape(pullback, state, batch))
    shapes = Counter((leaf.shape, leaf.dtype) for leaf in kept) - parameters
    return sum(
        count * math.prod(shape) * dtype.itemsize for (shape, dtype), count in shapes.items()
    )


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def measure(run: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Median wall seconds and least CPU-seconds of `run`, after one warm-up call."""
    run()
    wall, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return statistics.median(wall), min(cpu)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", required=True, help="file under configs/")
    parser.add_argument("--batch", type=int, default=4, help="images per step")
    parser.add_argument("--size", type=int, help="side of the images; default: of the config")
    parser.add_argument("--forward-only", action="store_true", help="inference instead of training")
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], help="default: the config's"
    )
    parser.add_argument("--peak-tflops", type=float, help="of the device, to print the MFU")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    parser.add_argument("--overlay", nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

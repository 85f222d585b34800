"""What leaving early saves: ProPIH stage by stage.

    python -m jaxharm.papers.propih.benchmark [--size 256] [--batch 1] [--repeats 9]

Every line runs the stages 1 to k with `StageRunner`, as `jaxharm harmonize --stage k` does, on noise
images; weights are random, which costs the same as trained ones. The stages are timed in turns, so
that a shared machine disturbs them alike; least wall and CPU seconds are shown. The last lines are
the forward pass that the official code runs even at inference, with all losses, and one forward
and backward pass of the generator's content and style losses at batch 4.

The official code is measured beside ours by `benchmarks/against_official.py`.
"""

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.compiler import save_memory_on_cpu
from jaxharm.config import TrainConfig
from jaxharm.errors import run_command
from jaxharm.interfaces import Array, DeviceBatch, Extras, Params, StepContext
from jaxharm.papers.propih.early_exit import StageRunner
from jaxharm.papers.propih.model import STAGES, ProPIH, ProPIHConfig, stage_macs
from jaxharm.papers.propih.system import ProPIHObjective, ProPIHSystem
from jaxharm.papers.propih.vgg import COLLECTION
from jaxharm.schema import Batch


def main() -> None:
    """Prints a line per stage, then the losses, the training pass and the peak memory."""
    arguments = _parse()
    save_memory_on_cpu()
    config = ProPIHConfig(exit_head=True)
    images = _images(arguments.batch, arguments.size)
    model = ProPIH(config)
    variables = jax.jit(model.init)(jax.random.key(0), *images)
    runner = StageRunner(model, variables)
    runs: dict[str, Callable[[], object]] = {
        str(k): partial(runner, *images, mode="fixed", stage=k) for k in range(1, STAGES + 1)
    }
    device = jax.devices()[0].device_kind
    print(f"{arguments.size}x{arguments.size}, batch {arguments.batch}, {device}")
    print(f"{'':10s}{'wall s':>9s}{'CPU s':>9s}{'of all':>9s}{'MACs':>9s}")
    found = _measure(runs, arguments.repeats)
    macs = np.cumsum(stage_macs(config, arguments.size, arguments.size))
    for k, (wall, cpu) in found.items():
        share, work = wall / found[str(STAGES)][0], macs[int(k) - 1] / macs[-1]
        _line(f"stage {k}", wall, cpu, f"{share:9.1%}{work:9.1%}")
    runner.calls.clear()
    runner(*images, mode="fixed", stage=1)
    print(f"calls of stage functions at exit 1: {runner.calls}")
    print(f"stage 4 takes {found['4'][0] / found['1'][0]:.1f} times as long as stage 1")
    losses, training = _losses(images), _losses(_images(4, arguments.size), gradient=True)
    found = _measure({"losses": losses}, min(arguments.repeats, 5))
    found |= _measure({"training": training}, min(arguments.repeats, 3))
    for name, (wall, cpu) in found.items():
        _line(name, wall, cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process {peak:.0f} MiB")


def _line(name: str, wall: float, cpu: float, shares: str = "") -> None:
    print(f"{name:10s}{wall:9.3f}{cpu:9.3f}{shares}", flush=True)


def _images(count: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Composite, mask (an ellipse), painting."""
    rng = np.random.default_rng(0)
    composite, painting = rng.random((2, count, side, side, 3), np.float32)
    grid = np.linspace(-1, 1, side, dtype=np.float32)
    ellipse = (grid[:, None] ** 2 / 0.5 + grid**2 / 0.3 < 1).astype(np.float32)
    return composite, np.tile(ellipse[None, :, :, None], (count, 1, 1, 1)), painting


def _losses(images: tuple[np.ndarray, ...], *, gradient: bool = False) -> Callable[[], object]:
    """The generator's content and style losses of a batch, with their gradient where wanted."""
    objective = ProPIHObjective(random_encoder=True, discriminator=None)
    config = TrainConfig("propih", ProPIHConfig(), objective, steps=1)
    system = ProPIHSystem.from_config(config, total_steps=1)
    composite, mask, painting = map(jnp.asarray, images)
    batch = Batch(composite, mask, background=painting)
    ctx = StepContext(jnp.int32(0), 1, jax.random.key(0), None)
    variables = jax.jit(ProPIH(config.model).init)(jax.random.key(0), *images)

    def loss(params: Params, encoder: Params, batch: DeviceBatch) -> tuple[Array, Array]:
        output, _ = system.forward(ctx, params, {COLLECTION: encoder}, batch)
        return system.loss(ctx, output, batch, Extras(None, encoder))[0], output.image

    run = jax.jit(jax.grad(loss, has_aux=True) if gradient else loss)
    return lambda: jax.block_until_ready(run(variables["params"], variables[COLLECTION], batch))


def _measure(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Least wall and CPU seconds of each, after one warm-up round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            times[name].append((time.perf_counter() - start, time.process_time() - start_cpu))
    return {
        name: (min(w for w, _ in found[1:]), min(c for _, c in found[1:]))
        for name, found in times.items()
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

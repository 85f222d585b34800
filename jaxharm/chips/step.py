"""Compiles the training step and the prediction of a config for a machine that is not here."""

import contextlib
import functools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, SingleDeviceSharding

from jaxharm import registry
from jaxharm.chips.targets import GIB, Target
from jaxharm.compiler import matmul_precision
from jaxharm.config import RunConfig
from jaxharm.errors import InputError
from jaxharm.interfaces import PyTree, System, TrainState
from jaxharm.ops import dispatch
from jaxharm.schema import Batch, HostArray, HostBatch, Pair
from jaxharm.training import initial, parallel
from jaxharm.training.task import check_kernels

_STEPS = 1000  # of the run that is imagined; schedules alone depend on it


class TooLarge(Exception):
    """The compiler found no room for a program; the sentence says how much is missing."""


@dataclass(frozen=True)
class Made:
    """A program for another machine.

    Attributes:
        program: as JAX returns it; it cannot be called.
        seconds: that its compiler took.
    """

    program: jax.stages.Compiled
    seconds: float


@dataclass(frozen=True)
class Work:
    """A config on a machine.

    Attributes:
        config: the run.
        target: the machine.
        system: made from `config`.
        mesh: all chips of the machine.
    """

    config: RunConfig
    target: Target
    system: System
    mesh: Mesh

    @property
    def per_chip(self) -> int:
        """Images of a step on each chip."""
        return self.config.data.batch_size // self.mesh.size

    @property
    def title(self) -> str:
        """What it is, in a line."""
        config, side = self.config, self.config.data.image_size
        return (
            f"{config.system} at {side}x{side}, batch {config.data.batch_size} on {self.mesh.size} x "
            f"{self.target.chip.title}, {config.precision}, {config.parallel}"
        )


def plan(config: RunConfig, target: Target) -> Work:
    """`config` on `target`.

    Raises:
        InputError: its global batch cannot be split over the chips, or its kernels are for others.
    """
    mesh = parallel.make_mesh(target.devices)
    _check_batch(config, target)
    check_kernels(config.ops.implementation, config.parallel, mesh)
    with _compiling(config, target):
        return Work(config, target, registry.make_system(config, total_steps=_STEPS), mesh)


def _check_batch(config: RunConfig, target: Target) -> None:
    batch, parts = config.data.batch_size, len(target.devices) * config.accumulate
    if batch % parts == 0:
        return
    least = max(1, round(batch / parts)) * parts
    fillable = [
        n for n in range(1, len(target.devices) + 1) if batch % (n * config.accumulate) == 0
    ]
    smaller = f", or choose a machine of at most {fillable[-1]} chips" if fillable else ""
    raise InputError(
        f"data.batch_size={batch} does not fill {target.name} ({len(target.devices)} chips, "
        f"accumulate={config.accumulate}): add --set data.batch_size={least}{smaller}"
    )


def compile_step(work: Work) -> Made:
    """The training step on all chips, as `parallel` of the config launches it."""
    config, system, mesh = work.config, work.system, work.mesh
    mode = config.parallel
    example = example_batch(config, config.data.batch_size)
    with _compiling(config, work.target):
        state, batch = initial.abstract_arguments(system, example, mesh, mode)
        return _made(work, parallel.launch(system.step, mode, mesh), state, batch)


def compile_prediction(work: Work) -> Made:
    """The prediction of a chip's share of a batch, on one chip."""
    config, system = work.config, work.system
    place = SingleDeviceSharding(work.target.devices[0])

    def here(tree: PyTree) -> PyTree:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree
        )

    example = example_batch(config, work.per_chip).for_devices()
    with _compiling(config, work.target):
        state = here(initial.abstract_state(system, example, work.mesh))
        predict = jax.jit(lambda state, batch: system.predict(state, batch).image)
        return _made(work, predict, state, here(example))


def count_operations(work: Work) -> float:
    """Floating-point operations of a training step on each chip, by its program before compilation.

    Kernels count as what they stand for, work that a compiler would save counts, and the body of a
    loop counts once.
    """
    config, system = work.config, work.system
    example = example_batch(config, config.data.batch_size).for_devices()
    with dispatch.override("reference"), matmul_precision(config.matmul_precision):
        state = jax.eval_shape(system.init, jax.random.key(0), example)
        step = jax.jit(functools.partial(system.step, axis_name=None))
        costs: Any = step.lower(state, jax.tree.map(_shape, example)).cost_analysis()
    return float(costs["flops"]) / work.mesh.size


def example_batch(config: RunConfig, count: int) -> HostBatch:
    """A batch of `count` samples as the config's data pipeline makes them, all zeros."""
    side = config.data.image_size
    # Broadcast, so that a pod's batch takes no memory.
    image: HostArray = np.broadcast_to(np.uint8(0), (count, side, side, 3))
    mask: HostArray = np.broadcast_to(np.float32(0), (count, side, side, 1))
    background = image if registry.get(config.system).needs_background else None
    unpaired = Pair(image, mask, background) if config.data.unpaired.enabled else None
    return Batch(
        composite=image,
        target=image,
        mask=mask,
        background=background,
        unpaired=unpaired,
        index=np.broadcast_to(np.int32(0), (count,)),
    )


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


# Without a GPU to try them on, XLA takes the first tiling of its own matrix products, and fails where
# that one does not fit. On a GPU it would go on to the next, or to cuBLAS, which is taken here.
_OPTIONS = {"cuda": {"xla_gpu_enable_triton_gemm": False}}


def _made(work: Work, function: Any, state: TrainState, batch: PyTree) -> Made:
    start = time.perf_counter()
    lowered = function.lower(state, batch)
    try:
        program = lowered.compile(compiler_options=_OPTIONS.get(work.target.chip.platform))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise TooLarge(_shortage(work, str(error))) from None
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the chip's compiler gave up on this program: {reason}") from None
    return Made(program, time.perf_counter() - start)


def _shortage(work: Work, message: str) -> str:
    """What the compiler says of a program that does not fit, and what would help."""
    found = re.search(r"temporaries \(([\d.]+)G\) exceeds available HBM \(([\d.]+)G\)", message)
    if found is None:
        return f"it does not fit: {message.strip().splitlines()[0]}"
    needed, room = (float(size) * GIB for size in found.groups())
    return (
        f"it does not fit: {needed / GIB:.2f} GiB of temporaries in {room / GIB:.2f} GiB of memory; "
        f"{remedy(work, needed, room)}"
    )


def remedy(work: Work, temporaries: float, room: float) -> str:
    """What would make a step fit whose temporaries have only `room` bytes beside its state."""
    config = work.config
    once = work.per_chip // config.accumulate  # images that a chip holds at a time
    parts = [n for n in range(2, once + 1) if once % n == 0 and temporaries / n <= room]
    ways = [f"--set accumulate={config.accumulate * parts[0]}"] if parts else []
    if config.precision == "float32":
        ways.append("--set precision=bfloat16")
    if config.parallel != "fsdp":
        ways.append("--set parallel=fsdp, which splits the state")
    return f"try {', '.join([*ways, 'a smaller data.batch_size'])}, or more chips"


@contextlib.contextmanager
def _compiling(config: RunConfig, target: Target) -> Iterator[None]:
    """What is traced here is for the target's chips, with the config's choices."""
    with (
        dispatch.compiling_for(target.devices[0]),
        dispatch.override(config.ops.implementation),
        matmul_precision(config.matmul_precision),
    ):
        yield

"""How kernels are called: the lowering pinned, whatever the version of JAX makes its default.

jax 0.10 lowers a plain `pallas_call` on a GPU through Mosaic GPU, jax 0.11 through Triton; the
compiler parameters decide here. Blocks need not divide an array: what a block has beyond the
array's end is undefined on reading (NaN in interpretation) and dropped on writing.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton as pltriton
from jax.sharding import ManualAxisType

from jaxharm.interfaces import Array

Ref = Any  # what a kernel reads and writes; its class has no public name in jax 0.10
Blocks = TypeVar("Blocks")


def tabled(table: Sequence[tuple[str, str, Blocks]]) -> Blocks:
    """The block sizes for the device at hand, from rows (date, device, blocks) of a `configs.py`;
    the first row serves devices that have none.
    """
    kind = jax.devices()[0].device_kind
    return next((blocks for _, device, blocks in table if device == kind), table[0][2])


def unsupported_dtype(*arguments: Array | None) -> str | None:
    """What to say of an argument that is neither float32 nor bfloat16, or None."""
    for a in arguments:
        if a is not None and a.dtype not in (jnp.float32, jnp.bfloat16):
            return f"the kernels take float32 and bfloat16, not {a.dtype}"
    return None


def out_like(shape: Sequence[int], dtype: Any, *operands: Array | None) -> jax.ShapeDtypeStruct:
    """The type of a kernel's result that varies over a mesh wherever one of its operands does."""
    axes = [jax.typeof(a).manual_axis_type.varying for a in operands if a is not None]
    varying = ManualAxisType(varying=frozenset().union(*axes))
    return jax.ShapeDtypeStruct(tuple(shape), dtype, manual_axis_type=varying)


def call_tpu(
    body: Callable[..., None],
    *,
    semantics: Sequence[str],
    interpret: bool,
    **call: Any,
) -> Callable[..., Any]:
    """`pl.pallas_call` through Mosaic TPU.

    Args:
        body: the kernel; it gets the references of inputs, outputs and scratch.
        semantics: per axis of the grid "parallel", or "arbitrary" where the order of the steps
            matters (a sum that is carried from step to step).
        interpret: run the body as jax.numpy instead.
        call: further arguments of `pl.pallas_call` (grid, in_specs, out_specs, out_shape, name).
    """
    params = pltpu.CompilerParams(dimension_semantics=tuple(semantics))  # type: ignore[arg-type]
    return _in_32_bits(pl.pallas_call(body, interpret=interpret, compiler_params=params, **call))


def call_triton(
    body: Callable[..., None],
    *,
    warps: int,
    interpret: bool,
    stages: int = 1,
    **call: Any,
) -> Callable[..., Any]:
    """`pl.pallas_call` through Triton: blocks of powers of two, no order among grid steps.

    Args:
        body: the kernel; it gets the references of inputs and outputs.
        warps: groups of 32 threads that share a block.
        interpret: run the body as jax.numpy instead.
        stages: depth of software pipelining of loops.
        call: further arguments of `pl.pallas_call`.
    """
    params = pltriton.CompilerParams(num_warps=warps, num_stages=stages)
    return _in_32_bits(pl.pallas_call(body, interpret=interpret, compiler_params=params, **call))


def call_mosaic_gpu(
    body: Callable[..., None], *, interpret: bool, **call: Any
) -> Callable[..., Any]:
    """`plgpu.kernel` through Mosaic GPU, layouts inferred per warpgroup.

    Args:
        body: the kernel; it gets the references of inputs and outputs, in the device's memory.
        interpret: run the body on any platform instead, which jax 0.10 cannot.
        call: further arguments of `plgpu.kernel` (grid, grid_names, out_type).
    """
    params = plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup)
    # Of jax 0.11 and later.
    how = {"interpret": vars(plgpu)["InterpretGPUParams"]()} if interpret else {}
    return _in_32_bits(plgpu.kernel(body, compiler_params=params, **how, **call))


def load_mosaic_gpu(ref: Ref, index: tuple[Any, ...], layout: Any) -> Array:
    """Loads from the device's memory straight into registers of that layout."""
    load: Any = plgpu.load
    if "idx" in inspect.signature(load).parameters:  # jax 0.10
        return load(ref, index, layout=layout, optimized=False)
    return load(ref.at[index], layout=layout, optimized=False)


def store_mosaic_gpu(ref: Ref, index: tuple[Any, ...], value: Array) -> None:
    """The reverse: registers of any layout to the device's memory, also less than whole sectors."""
    if hasattr(plgpu, "store"):
        plgpu.store(ref.at[index], value, optimized=False)
    else:  # jax 0.10
        ref[index] = value


def _in_32_bits(run: Callable[..., Any]) -> Callable[..., Any]:
    """Traces the kernel with 32-bit indices, the only ones that the lowerings take, whatever
    `jax_enable_x64` says.
    """

    def call(*operands: Array) -> Any:
        with jax.enable_x64(False):
            return run(*operands)

    return call

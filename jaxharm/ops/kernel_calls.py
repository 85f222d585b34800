"""How kernels are called, with the compiler pinned: `pallas_call` alone would leave it to JAX.

Blocks need not divide an array: what a block has beyond the array's end is undefined on reading
(NaN in interpretation) and dropped on writing.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton as pltriton
from jax.sharding import ManualAxisType
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.ops.dispatch import device_kind

Blocks = TypeVar("Blocks")
Rows = slice | pl.Slice  # what `pl.ds` returns
# A call of a compiled kernel: its operands in, its results out.
Run = Callable[..., list[Array]]


class Views(Protocol):
    """The `at` of a reference: parts of it, not read yet."""

    def __getitem__(self, index: object) -> "Ref":
        """That part, as a reference."""
        ...


class Ref(Protocol):
    """What a kernel reads and writes. (Its own class has no public name in jax 0.10.)"""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the block."""
        ...

    @property
    def dtype(self) -> jnp.dtype:
        """Type of its numbers."""
        ...

    @property
    def at(self) -> Views:
        """Parts of it, not read yet."""
        ...

    def __getitem__(self, index: object) -> Array:
        """Reads."""
        ...

    def __setitem__(self, index: object, value: Array) -> None:
        """Writes."""
        ...


# Their own annotations name classes of JAX that are not public.
load_triton: Callable[..., Array] = pltriton.load
store_triton: Callable[..., None] = pltriton.store
elementwise_inline_asm: Callable[..., Sequence[Array]] = pltriton.elementwise_inline_asm


def multiply_add_triton(a: Array | float, b: Array | float, c: Array | float) -> Array:
    """a*b + c with one rounding, as one instruction: Triton does not fuse them by itself."""
    shape = jnp.broadcast_shapes(*(jnp.shape(value) for value in (a, b, c)))
    (found,) = elementwise_inline_asm(
        "fma.rn.f32 $0, $1, $2, $3;",
        args=[jnp.broadcast_to(jnp.asarray(value, jnp.float32), shape) for value in (a, b, c)],
        constraints="=f,f,f,f",
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(shape, jnp.float32)],
    )
    return found


def block_sizes(table: Sequence[tuple[str, str, Blocks]]) -> Blocks:
    """The block sizes for this machine's device, from the rows (date, device, blocks) of a table.

    The first row serves devices that have none of their own.
    """
    kind = device_kind()
    return next((blocks for _, device, blocks in table if device == kind), table[0][2])


def unsupported_dtype(*arguments: Array | None) -> str | None:
    """The reason to refuse an argument that is neither float32 nor bfloat16, or None."""
    for a in arguments:
        if a is not None and a.dtype not in (jnp.float32, jnp.bfloat16):
            return f"the kernels take float32 and bfloat16, not {a.dtype}"
    return None


def out_like(
    shape: Sequence[int], dtype: DTypeLike, *operands: Array | None
) -> jax.ShapeDtypeStruct:
    """The type of a kernel's result: it varies over a mesh wherever one of its operands does."""
    # Inside `shard_map` a kernel is opaque to JAX, which cannot infer this.
    axes = [jax.typeof(a).manual_axis_type.varying for a in operands if a is not None]
    varying = ManualAxisType(varying=frozenset().union(*axes))
    return jax.ShapeDtypeStruct(tuple(shape), dtype, manual_axis_type=varying)


def call_tpu(
    body: Callable[..., None],
    *,
    name: str,
    semantics: Sequence[str],
    interpret: bool,
    grid: tuple[int, ...],
    in_specs: Sequence[pl.BlockSpec],
    out_specs: Sequence[pl.BlockSpec],
    out_shape: Sequence[jax.ShapeDtypeStruct],
    scratch_shapes: Sequence[pl.MemoryRef] = (),
) -> Run:
    """`pl.pallas_call` through Mosaic TPU.

    Args:
        body: the kernel; it gets the references of inputs, outputs and scratch.
        name: of the kernel in profiles.
        semantics: per axis of the grid "parallel", or "arbitrary" where the order of the steps
            matters (a sum that is carried from step to step).
        interpret: run the body as jax.numpy instead.
        grid, in_specs, out_specs, out_shape, scratch_shapes: see `pl.pallas_call`.
    """
    params = pltpu.CompilerParams(dimension_semantics=tuple(semantics))  # type: ignore[arg-type]
    return _in_32_bits(
        pl.pallas_call(
            body,
            name=name,
            interpret=interpret,
            compiler_params=params,
            grid=grid,
            in_specs=list(in_specs),
            out_specs=list(out_specs),
            out_shape=list(out_shape),
            scratch_shapes=list(scratch_shapes),
        )
    )


def call_triton(
    body: Callable[..., None],
    *,
    name: str,
    warps: int,
    interpret: bool,
    grid: tuple[int, ...],
    out_shape: Sequence[jax.ShapeDtypeStruct],
) -> Run:
    """`pl.pallas_call` through Triton: blocks of powers of two, no order among grid steps.

    Args:
        body: the kernel; it gets the references of inputs and outputs, whole.
        name: of the kernel in profiles.
        warps: groups of 32 threads that share a block.
        interpret: run the body as jax.numpy instead.
        grid, out_shape: see `pl.pallas_call`.
    """
    # These parameters are what selects Triton: jax 0.10 lowers a plain `pallas_call` on a GPU
    # through Mosaic GPU, jax 0.11 through Triton.
    params = pltriton.CompilerParams(num_warps=warps, num_stages=1)
    return _in_32_bits(
        pl.pallas_call(
            body,
            name=name,
            interpret=interpret,
            compiler_params=params,
            grid=grid,
            out_shape=list(out_shape),
        )
    )


def call_mosaic_gpu(
    body: Callable[..., None],
    *,
    interpret: bool,
    grid: tuple[int, ...],
    grid_names: tuple[str, ...],
    out_type: Sequence[jax.ShapeDtypeStruct],
) -> Run:
    """`plgpu.kernel` through Mosaic GPU, layouts inferred per warpgroup.

    Args:
        body: the kernel; it gets the references of inputs and outputs, in the device's memory.
        interpret: run the body on any platform instead, which jax 0.10 cannot.
        grid, grid_names, out_type: see `plgpu.kernel`.
    """
    params = plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup)
    # By name, since jax 0.10 lacks the class.
    how = {"interpret": vars(plgpu)["InterpretGPUParams"]()} if interpret else {}
    return _in_32_bits(
        plgpu.kernel(
            body,
            compiler_params=params,
            grid=grid,
            grid_names=grid_names,
            out_type=list(out_type),
            **how,
        )
    )


def load_mosaic_gpu(ref: Ref, index: tuple[object, ...], layout: object) -> Array:
    """Loads from the device's memory straight into registers of that layout."""
    load: Callable[..., Array] = plgpu.load
    if "idx" in inspect.signature(load).parameters:  # jax 0.10
        return load(ref, index, layout=layout, optimized=False)
    return load(ref.at[index], layout=layout, optimized=False)


def store_mosaic_gpu(ref: Ref, index: tuple[object, ...], value: Array) -> None:
    """Stores registers of any layout to the device's memory, also less than whole sectors."""
    if hasattr(plgpu, "store"):
        plgpu.store(ref.at[index], value, optimized=False)
    else:  # jax 0.10
        ref[index] = value


def _in_32_bits(run: Callable[..., Any]) -> Run:
    """Traces the kernel with 32-bit indices, whatever `jax_enable_x64` says."""

    def call(*operands: Array) -> list[Array]:
        # The lowerings take no other indices.
        with jax.enable_x64(False):
            return list(run(*operands))

    return call

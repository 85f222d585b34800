"""How feature maps are cut into the tiles of a GPU's programs, and loops over them.

A program takes a strip of one patch and some channels, tile by tile of (pixels, channels).
"""
# A pixel's channels are neighbors in memory, so that whole sectors are read.

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from jaxharm.interfaces import Array
from jaxharm.ops.kernel_calls import (
    Ref,
    block_sizes,
    call_triton,
    load_triton,
    out_like,
    store_triton,
)
from jaxharm.ops.regions.configs import GPU_MAPS, GPU_SUMS, GPU_UPSTREAM, GpuBlocks

Carry = TypeVar("Carry")
_CHANNELS = 64  # of a tile, at most


class Plan(NamedTuple):
    """How the work is cut: tiles of `pixels` x `lanes`, `tiles` in a strip, `strips` in a patch.

    The strips cover the largest patch; smaller ones have empty tiles. `held` tiles are taken at once.
    """

    batch: int
    height: int
    width: int
    channels: int
    patches: int  # per side
    pixels: int
    lanes: int
    tiles: int
    strips: int
    warps: int
    held: int

    @property
    def columns(self) -> int:
        """Blocks of channels."""
        return pl.cdiv(self.channels, self.lanes)

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.batch, self.patches**2 * self.strips, self.columns


class Tile(NamedTuple):
    """The numbers of one tile: some pixels and channels, not all of which need exist."""

    # Triton's blocks are powers of two: what lies beyond the patch or the channels is masked.

    image: Array
    column: Array  # block of channels
    pixel: Array  # [pixels]
    exists: Array
    channel: Array  # [lanes]
    channel_exists: Array | None  # None: all of them

    @property
    def inside(self) -> Array:
        """Which numbers exist, [pixels,lanes]."""
        if self.channel_exists is None:
            return jnp.broadcast_to(self.exists[:, None], (*self.exists.shape, *self.channel.shape))
        return self.exists[:, None] & self.channel_exists[None, :]

    def load(self, ref: Ref) -> Array:
        """This tile of an array [b,pixels,c]: f32[pixels,lanes], zero where nothing exists."""
        at = ref.at[self.image, self.pixel[:, None], self.channel[None, :]]
        return load_triton(at, mask=self.inside, other=0.0).astype(jnp.float32)

    def store(self, ref: Ref, value: Array) -> None:
        at = ref.at[self.image, self.pixel[:, None], self.channel[None, :]]
        store_triton(at, value.astype(ref.dtype), mask=self.inside)

    def load_mask(self, ref: Ref | None) -> Array:
        """This tile of a mask [b,pixels]: f32[pixels,1], zero where nothing exists.

        None means a mask of ones.
        """
        if ref is None:
            return self.exists.astype(jnp.float32)[:, None]
        at = ref.at[self.image, self.pixel]
        return load_triton(at, mask=self.exists, other=0.0).astype(jnp.float32)[:, None]

    def store_mask(self, ref: Ref, value: Array) -> None:
        """The sum over the channels at hand, to [b,columns,pixels]; zeros give zero."""
        at = ref.at[self.image, self.column, self.pixel]
        store_triton(at, jnp.sum(value, 1), mask=self.exists)

    def rest(self, mask: Array) -> Array:
        """1 - mask, zero where nothing exists."""
        return self.exists.astype(jnp.float32)[:, None] - mask


def plan_of_sums(x: Array, grid: int = 1) -> Plan:
    """How a kernel cuts x [b,h,w,c] that sums pixels of `grid` patches per side."""
    return _plan(x, grid, block_sizes(GPU_SUMS))


def plan_of_upstream_sums(x: Array) -> Plan:
    """How a kernel cuts x [b,h,w,c] that sums products of x and the gradient from upstream."""
    return _plan(x, 1, block_sizes(GPU_UPSTREAM))


def plan_of_map(x: Array, grid: int = 1) -> Plan:
    """How a kernel cuts x [b,h,w,c] that maps every pixel by itself."""
    return _plan(x, grid, block_sizes(GPU_MAPS))


def _plan(x: Array, grid: int, blocks: GpuBlocks) -> Plan:
    b, h, w, c = x.shape
    lanes = min(_CHANNELS, pl.next_power_of_2(c))
    pixels = blocks.size // lanes
    tall, wide = (n - (grid - 1) * (n // grid) for n in (h, w))
    groups = min(blocks.tiles // blocks.held, pl.cdiv(tall * wide, pixels * blocks.held))
    tiles = groups * blocks.held
    strips = pl.cdiv(tall * wide, pixels * tiles)
    return Plan(b, h, w, c, grid, pixels, lanes, tiles, strips, blocks.warps, blocks.held)


def flat(x: Array) -> Array:
    """[b,h,w,c] as [b,pixels,c]."""
    return x.reshape(x.shape[0], -1, x.shape[3])


def flat_mask(mask: Array) -> Array:
    """[b,h,w,1] as [b,pixels]."""
    return mask.reshape(mask.shape[0], -1)


def strip_sums(plan: Plan, count: int, arrays: Sequence[Array]) -> jax.ShapeDtypeStruct:
    """The type of a result of `count` vectors of channels for each strip."""
    return out_like((plan.batch, plan.grid[1], count, plan.channels), jnp.float32, *arrays)


def mask_sums(plan: Plan, arrays: Sequence[Array]) -> jax.ShapeDtypeStruct:
    """The type of the mask's gradient: a sum for each block of channels."""
    pixels = plan.height * plan.width
    return out_like((plan.batch, plan.columns, pixels), jnp.float32, *arrays)


def call(
    kernel: Callable[..., None],
    name: str,
    plan: Plan,
    arrays: Sequence[Array],
    out_shape: Sequence[jax.ShapeDtypeStruct],
    interpret: bool,
) -> list[Array]:
    """Runs a kernel over the plan's grid."""
    return call_triton(
        kernel,
        name=f"region_{name}",
        warps=plan.warps,
        interpret=interpret,
        grid=plan.grid,
        out_shape=list(out_shape),
    )(*arrays)


def _channels(plan: Plan) -> tuple[Array, Array | None]:
    """This program's channels, and which exist; None: all of them."""
    channel = pl.program_id(2) * plan.lanes + jnp.arange(plan.lanes, dtype=jnp.int32)
    return channel, None if plan.channels % plan.lanes == 0 else channel < plan.channels


def each_tile(plan: Plan, step: Callable[[Tile, Carry], Carry], carry: Carry) -> Carry:
    """Folds `step` over the tiles of this program's strip, one after the other."""

    def in_turn(tiles: Sequence[Tile], carry: Carry) -> Carry:
        for tile in tiles:
            carry = step(tile, carry)
        return carry

    return each_group(plan, in_turn, carry)


def each_group(plan: Plan, step: Callable[[Sequence[Tile], Carry], Carry], carry: Carry) -> Carry:
    """Folds `step` over the tiles of this program's strip, `plan.held` at a time."""
    patch, strip = pl.program_id(1) // plan.strips, pl.program_id(1) % plan.strips
    (top, tall), (left, wide) = (
        _side(size, plan.patches, index)
        for size, index in (
            (plan.height, patch // plan.patches),
            (plan.width, patch % plan.patches),
        )
    )
    image, column = pl.program_id(0), pl.program_id(2)
    channel, channel_exists = _channels(plan)

    def tile(index: Array) -> Tile:
        first = (strip * plan.tiles + index) * plan.pixels
        at = first + jnp.arange(plan.pixels, dtype=jnp.int32)
        # Nothing is negative, so // and % need no corrections: Triton could not lower them.
        pixel = (top + jax.lax.div(at, wide)) * plan.width + left + jax.lax.rem(at, wide)
        exists = at < tall * wide
        return Tile(image, column, pixel, exists, channel, channel_exists)

    def group(index: Array, carry: Carry) -> Carry:
        return step([tile(index * plan.held + k) for k in range(plan.held)], carry)

    return jax.lax.fori_loop(np.int32(0), np.int32(plan.tiles // plan.held), group, carry)


def _side(size: int, grid: int, index: Array) -> tuple[Array, Array]:
    """First pixel and number of pixels of a patch, along one side."""
    step, remainder = size // grid, size % grid
    return index * step, step + (index + 1) // grid * remainder  # the last one has the remainder


def get(vectors: Ref, index: int, plan: Plan) -> Array:
    """f32[1,lanes] of a table [b,k,c]."""
    return _row(vectors, index, plan)


def get_patch(vectors: Ref, plan: Plan) -> Array:
    """f32[1,lanes] of a table [b,patches,c]: the row of this program's patch."""
    return _row(vectors, pl.program_id(1) // plan.strips, plan)


def _row(vectors: Ref, index: Array | int, plan: Plan) -> Array:
    channel, exists = _channels(plan)
    at = vectors.at[pl.program_id(0), index, channel]
    return load_triton(at, mask=exists, other=None if exists is None else 0.0)[None, :]


def put(vectors: Ref, index: int, value: Array, plan: Plan) -> None:
    """Writes f32[lanes] into this program's row of a table [b,programs,k,c]."""
    channel, exists = _channels(plan)
    at = vectors.at[pl.program_id(0), pl.program_id(1), index, channel]
    store_triton(at, value, mask=exists)

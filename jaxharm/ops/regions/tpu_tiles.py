"""The layout of feature maps in the TPU's tiles, and loops over them.

A row of an image is a tile of (sublanes, lanes): (width, channels) if the channels fill lanes, else
(channels, width). Masks come as [b,h,w]; for tiles with channels in the lanes eight of their rows
are transposed to columns at a time.
"""
# XLA stores feature maps in the same two ways, so nothing is moved before a kernel runs.

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxharm.interfaces import Array
from jaxharm.ops.kernel_calls import Ref, Rows, block_sizes
from jaxharm.ops.regions.configs import TPU

ROWS = 8  # of a mask's tile; blocks have multiples
_GROUP = 16  # sublanes that one step keeps in registers: a tile of bfloat16
_LANES = 128


class Layout(NamedTuple):
    """Sizes of a feature map, and `rows` of its blocks."""

    batch: int
    height: int
    width: int
    channels: int
    rows: int

    @property
    def width_in_lanes(self) -> bool:
        """Whether the width lies in the lanes."""
        return self.channels % _LANES != 0

    @property
    def tile(self) -> tuple[int, int]:
        """Sublanes and lanes of one row."""
        return (self.channels, self.width) if self.width_in_lanes else (self.width, _LANES)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Images, blocks of channels, blocks of rows."""
        columns = 1 if self.width_in_lanes else self.channels // _LANES
        return self.batch, columns, pl.cdiv(self.height, self.rows)

    def image(self, x: Array) -> Array:
        """[b,h,w,c] as the kernels read it, and back."""
        return jnp.swapaxes(x, -1, -2) if self.width_in_lanes else x

    def mask(self, mask: Array) -> Array:
        """f32[b,rows of all blocks,w]."""
        below = self.grid[2] * self.rows - self.height
        return jnp.pad(mask[..., 0].astype(jnp.float32), ((0, 0), (0, below), (0, 0)))

    def image_block(self) -> pl.BlockSpec:
        """Rows of one image, and one tile's channels."""
        return pl.BlockSpec((None, self.rows, *self.tile), lambda n, c, r: (n, r, 0, c))

    def mask_block(self) -> pl.BlockSpec:
        """The same rows of a mask."""
        return pl.BlockSpec((None, self.rows, self.width), lambda n, c, r: (n, r, 0))

    def mask_scratch(self) -> list[pl.MemoryRef]:
        """Scratch for a mask's columns, where they are needed."""
        return [] if self.width_in_lanes else [pltpu.VMEM((self.width, ROWS), jnp.float32)]

    # A vector has a number per channel: a row of lanes, or a column.

    def vectors(self, values: Array) -> Array:
        """[b,k,c] as the kernels read and write it, and back."""
        return jnp.swapaxes(values, -1, -2) if self.width_in_lanes else values

    def vector_block(self, count: int, per_block: bool = False) -> pl.BlockSpec:
        """`count` vectors for each image, or for each block of rows as well."""
        sublanes, lanes = self.tile
        shape = (sublanes, count) if self.width_in_lanes else (count, lanes)
        if per_block:
            return pl.BlockSpec((None, None, *shape), lambda n, c, r: (n, r, 0, c))
        return pl.BlockSpec((None, *shape), lambda n, c, r: (n, 0, c))

    def vector_shape(self, count: int) -> tuple[int, int]:
        """Shape of `count` vectors of all channels."""
        return (self.channels, count) if self.width_in_lanes else (count, self.channels)

    def get(self, vectors: Ref, index: int, group: Rows) -> Array:
        """A vector's part for a group of sublanes."""
        if self.width_in_lanes:
            return vectors[group, index : index + 1]
        return vectors[index : index + 1, :]

    def put(self, vectors: Ref, index: int, value: Array) -> None:
        """Writes a vector."""
        if self.width_in_lanes:
            vectors[:, index : index + 1] = value
        else:
            vectors[index : index + 1, :] = value

    def columns(self, first: int, after: int) -> tuple[slice, slice]:
        """Some columns of the image within a tile."""
        part, whole = slice(first, after), slice(None)
        return (whole, part) if self.width_in_lanes else (part, whole)

    def over_columns(self, value: Array) -> Array:
        """Sum over the columns, a vector."""
        return jnp.sum(value, 1 if self.width_in_lanes else 0, keepdims=True)

    def over_channels(self, value: Array) -> Array:
        """Sum over the channels at hand: a row of the mask, or a column."""
        return jnp.sum(value, 0 if self.width_in_lanes else 1, keepdims=True)


def layout_of(x: Array) -> Layout:
    """The layout with blocks as large as `configs.TPU` allows."""
    b, h, w, c = x.shape
    sublanes, lanes = Layout(b, h, w, c, ROWS).tile
    row = 4 * pl.cdiv(sublanes, 8) * 8 * pl.cdiv(lanes, _LANES) * _LANES
    rows = max(1, block_sizes(TPU).bytes // (row * ROWS)) * ROWS
    return Layout(b, h, w, c, min(rows, pl.cdiv(h, ROWS) * ROWS))


def image_blocks(layout: Layout, images: Sequence[Array]) -> list[pl.BlockSpec]:
    """Blocks of feature maps and of masks, which have one axis less."""
    return [layout.mask_block() if a.ndim == 3 else layout.image_block() for a in images]


def refusal(x: Array) -> str | None:
    """The reason to refuse a feature map whose rows are too long, or None."""
    b, h, w, c = x.shape
    sublanes, lanes = Layout(b, h, w, c, ROWS).tile
    row = 4 * pl.cdiv(sublanes, 8) * 8 * pl.cdiv(lanes, _LANES) * _LANES
    if ROWS * row > block_sizes(TPU).bytes:
        return f"{ROWS} rows of {x.shape[2]} pixels and {x.shape[3]} channels do not fit into VMEM"
    return None


def each_group(layout: Layout, step: Callable[[Rows], None]) -> None:
    """Calls `step` with one group of a tile's sublanes after the other."""
    # A whole tile does not fit into the registers; a group does.
    sublanes = layout.tile[0]
    whole = sublanes // _GROUP

    if whole > 1:

        @pl.loop(0, whole)
        def _(i: Array) -> None:
            step(pl.ds(pl.multiple_of(i * _GROUP, _GROUP), _GROUP))

    elif whole:
        step(pl.ds(0, _GROUP))
    if sublanes % _GROUP:
        step(pl.ds(whole * _GROUP, sublanes % _GROUP))


def tile(ref: Ref, row: Array, group: Rows) -> Array:
    """A group of sublanes of one row, f32."""
    return ref[row, group, :].astype(jnp.float32)


class MaskRows:
    """Eight rows of a mask: `row(i, group)` broadcasts against that group of row i of the tiles."""

    def __init__(self, layout: Layout, mask: Ref, chunk: Array, scratch: list[Ref]) -> None:
        self._layout, self._scratch = layout, scratch
        self._rows = mask[pl.ds(pl.multiple_of(chunk * ROWS, ROWS), ROWS), :]
        if scratch:
            scratch[0][...] = self._rows.T

    def row(self, i: int, group: Rows) -> Array:
        """Row i, for a group of sublanes."""
        if self._layout.width_in_lanes:
            return self._rows[i : i + 1, :]
        return self._scratch[0][group, i : i + 1]


class Segments(NamedTuple):
    """The pieces of blocks that lie in one row of patches: `pieces` for each block, some empty."""

    # Blocks are as large as VMEM allows and patches are not multiples of them, so a block is cut
    # where a row of patches ends. The number of pieces must be the same for all blocks.

    height: int
    rows: int
    grid: int

    @property
    def blocks(self) -> int:
        """Number of blocks of rows."""
        return -(-self.height // self.rows)

    @property
    def pieces(self) -> int:
        """The largest number of rows of patches that a block touches."""
        return max(1 + sum(bool(n) for n in self._below(r)) for r in range(self.blocks))

    def _below(self, block: int) -> Iterator[bool]:
        """Which further rows of patches start inside the block."""
        for j in range(1, self.grid):
            top = j * (self.height // self.grid)
            yield block * self.rows < top < (block + 1) * self.rows

    def bounds(
        self, block: Array | int, segment: Array | int, xp: ModuleType = jnp
    ) -> tuple[Array, Array, Array]:
        """Row of patches, first row and row after the last one (within the block) of a segment."""
        # By jax.numpy inside the kernel, by NumPy for the tables around it.
        side, top = self.height // self.grid, block * self.rows
        row = xp.minimum(top // side, self.grid - 1) + segment
        start = xp.maximum(row * side, top)
        stop = xp.where(row >= self.grid - 1, self.height, (row + 1) * side)
        stop = xp.minimum(stop, top + self.rows)
        stop = xp.where(row < self.grid, xp.maximum(stop, start), start)
        return row, start - top, stop - top

    def membership(self) -> tuple[np.ndarray, np.ndarray]:
        """Which image rows are in each segment, and which segments are in each row of patches.

        Returns:
            f32[blocks*pieces,height], 1 where the row is in the segment; i32[n,grid], the index of
            the n-th segment of each row of patches, blocks*pieces where there is none.
        """
        rows = np.zeros((self.blocks * self.pieces, self.height), np.float32)
        found: list[list[int]] = [[] for _ in range(self.grid)]
        for block in range(self.blocks):
            for segment in range(self.pieces):
                row, start, stop = self.bounds(block, segment, np)
                if stop > start:
                    index, top = block * self.pieces + segment, block * self.rows
                    rows[index, top + start : top + stop] = 1
                    found[row].append(index)
        most = max(map(len, found))
        padded = [a + [self.blocks * self.pieces] * (most - len(a)) for a in found]
        return rows, np.asarray(padded, np.int32).T

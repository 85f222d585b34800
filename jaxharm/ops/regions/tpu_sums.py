"""Statistics of regions and patches on TPU; `tpu_tiles` describes the layout of the arrays."""
# The rows of a block are read twice from VMEM (once from memory): for the means of its patches, then
# for the sums around them. Rows are added first, column by column, because that needs no sums within
# a register; the columns of a patch are added once for each segment.

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxharm.interfaces import Array
from jaxharm.ops import patches
from jaxharm.ops.kernel_calls import Ref, Rows, call_tpu, out_like
from jaxharm.ops.regions.sums import Parts
from jaxharm.ops.regions.tpu_tiles import (
    ROWS,
    Layout,
    MaskRows,
    Segments,
    each_group,
    image_blocks,
    layout_of,
    tile,
)


def sums(
    x: Array, mask: Array | None, grid: int, *, regions: int, interpret: bool = False
) -> Parts:
    """Sums of the masked region and, with two regions, of the rest. No mask is one of ones.

    Args:
        x: f[b,h,w,c].
        mask: f[b,h,w,1].
        grid: patches per side; see `ops.patches`.
    """
    layout = layout_of(x)
    segments = Segments(layout.height, layout.rows, grid)
    weights = [_segment_sums(w, segments) for w in _weights(x, mask, regions, powers=2)]
    sizes = weights[:regions]
    # The weights do not depend on the channels, so XLA sums them, and the kernel gets the inverses
    # as scalars.
    inverse = jnp.stack([jnp.where(w > 0, 1 / jnp.where(w > 0, w, 1), 0) for w in sizes], 2)
    blocks, pieces = segments.blocks, segments.pieces
    inverse = inverse.reshape(layout.batch, blocks, pieces, regions * grid)
    images = [layout.image(x)] if mask is None else [layout.image(x), layout.mask(mask)]
    vectors = 4 * regions * grid
    sublanes, lanes = layout.tile
    shape = (sublanes, vectors) if layout.width_in_lanes else (vectors, lanes)
    out_block = pl.BlockSpec((None, None, pieces, *shape), lambda n, c, r: (n, r, 0, 0, c))
    out_shape = (layout.batch, blocks, pieces, *layout.vector_shape(vectors))
    (out,) = call_tpu(
        partial(_sums_body, layout=layout, segments=segments, masked=mask is not None),
        name="region_sums",
        semantics=("parallel",) * 3,
        interpret=interpret,
        grid=layout.grid,
        in_specs=[
            pl.BlockSpec(
                (None, None, pieces, regions * grid),
                lambda n, c, r: (n, r, 0, 0),
                memory_space=pltpu.SMEM,
            ),
            *image_blocks(layout, images),
        ],
        out_specs=[out_block],
        out_shape=[out_like(out_shape, jnp.float32, inverse, *images)],
        scratch_shapes=[
            pltpu.VMEM((3 * regions, *layout.tile), jnp.float32),
            pltpu.VMEM((regions, *layout.tile), jnp.float32),
            *layout.mask_scratch(),
        ],
    )(inverse, *images)
    found = layout.vectors(out).reshape(layout.batch, blocks * pieces, regions, 4, grid, -1)
    squares = jnp.stack(weights[regions:], 2)
    known = jnp.stack([jnp.stack(sizes, 2), squares], 3)[..., None]
    return Parts(*_by_patch(known, segments), *_by_patch(found, segments))


def _weights(x: Array, mask: Array | None, regions: int, powers: int) -> list[Array]:
    """f32[b,h,w]: the weights of the regions, then their squares."""
    m = jnp.ones(x.shape[:3], jnp.float32) if mask is None else mask[..., 0].astype(jnp.float32)
    first = [m, 1 - m][:regions]
    return [w**power for power in range(1, powers + 1) for w in first]


def _segment_sums(weights: Array, segments: Segments) -> Array:
    """f32[b,h,w] -> f32[b,blocks*pieces,g]."""
    columns = patches.membership(weights.shape[2], segments.grid)
    return jnp.einsum(
        "sh,bhw,wk->bsk", segments.membership()[0], weights, columns,
        precision=lax.Precision.HIGHEST,
    )  # fmt: skip


def _by_patch(values: Array, segments: Segments) -> list[Array]:
    """f32[b,s,regions,k,g,c] -> k times f32[b,n,g*g,regions,c]."""
    index = segments.membership()[1]
    nothing = jnp.zeros_like(values[:, :1])
    picked = jnp.concatenate([values, nothing], 1)[:, index]  # [b,n,g,regions,k,g,c]
    b, n, g, regions, _, _, c = picked.shape
    moved = jnp.transpose(picked, (4, 0, 1, 2, 5, 3, 6))
    return list(moved.reshape(-1, b, n, g * g, regions, c))


def _sums_body(
    inverse: Ref, x: Ref, *refs: Ref, layout: Layout, segments: Segments, masked: bool
) -> None:
    mask = refs[0] if masked else None
    out, acc, centers, *scratch = refs[masked:]
    regions = centers.shape[0]
    grid = segments.grid
    edges = [*range(0, grid * (layout.width // grid), layout.width // grid), layout.width]

    def add_rows(
        chunk: Array, start: Array, stop: Array, terms: Callable[..., list[Array]]
    ) -> None:
        """Adds to `acc` the terms of the rows of a chunk."""
        rows = None if mask is None else MaskRows(layout, mask, chunk, scratch)

        def step(group: Rows) -> None:
            total: list[Array] = []
            for i in range(ROWS):
                row = chunk * ROWS + i
                inside = (row >= start) & (row < stop)
                # Beyond the image a block is undefined, and 0 times NaN is NaN.
                value = jnp.where(inside, tile(x, row, group), 0.0)
                whole = jnp.where(inside, 1.0, 0.0)
                m = whole if rows is None else rows.row(i, group) * whole
                found = terms(value, [m, whole - m][:regions], group)
                total = [a + b for a, b in zip(total, found, strict=True)] if total else found
            for index, value in enumerate(total):
                acc[index, group, :] += value

        each_group(layout, step)

    def sweep(start: Array, stop: Array, count: int, terms: Callable[..., list[Array]]) -> None:
        for index in range(count):
            acc[index] = jnp.zeros(layout.tile, jnp.float32)

        @pl.loop(start // ROWS, (stop + ROWS - 1) // ROWS)
        def _(chunk: Array) -> None:
            add_rows(chunk, start, stop, terms)

    def patch_sum(index: int, patch: int) -> Array:
        return layout.over_columns(acc[(index, *layout.columns(*edges[patch : patch + 2]))])

    def around(value: Array, weights: list[Array], group: Rows) -> list[Array]:
        """The terms of the sums around the patches' means."""
        found = []
        for region, m in enumerate(weights):
            weighted = (value - centers[region, group, :]) * m
            found += [weighted, weighted * m, weighted * weighted]
        return found

    # A piece is the part of a block that lies in one row of patches: two sweeps over its rows.
    def piece(at: Ref, scale: Callable[[int], Array], start: Array, stop: Array) -> None:
        sweep(start, stop, regions, lambda value, weights, _: [value * m for m in weights])
        for region in range(regions):
            for patch in range(grid):
                center = patch_sum(region, patch) * scale(region * grid + patch)
                layout.put(at, 4 * region * grid + patch, center)
                place = (region, *layout.columns(*edges[patch : patch + 2]))
                centers[place] = jnp.broadcast_to(center, centers[place].shape)
        sweep(start, stop, 3 * regions, around)
        for region in range(regions):
            for kind in range(3):
                for patch in range(grid):
                    row = (4 * region + 1 + kind) * grid + patch
                    layout.put(at, row, patch_sum(3 * region + kind, patch))

    block = pl.program_id(2)

    @pl.loop(0, segments.pieces)
    def _(s: Array) -> None:
        _, start, stop = segments.bounds(block, s)
        # The parts of empty pieces are never read.
        pl.when(stop > start)(partial(piece, out.at[s], lambda k: inverse[s, k], start, stop))

"""Kernels for TPU; see `tpu_tiles` for how the arrays lie.

`sums` takes the rows of a block twice from VMEM: the means of its patches, then the sums around
them. Rows are added up first, column by column; columns fall into patches once for each segment.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxharm.ops.kernel_calls import Ref, call_tpu, out_like, unsupported_dtype
from jaxharm.ops.patch_norm import patches
from jaxharm.ops.regions import body, tpu_tiles
from jaxharm.ops.regions.sums import Parts
from jaxharm.ops.regions.tpu_tiles import ROWS, Layout, MaskRows, Segments, each_group, layout_of
from jaxharm.types import Array


def refusal(*images: Array | None) -> str | None:
    """Why the kernels cannot take these feature maps and masks, or None."""
    first = images[0]
    assert first is not None
    return unsupported_dtype(*images) or tpu_tiles.refusal(first)


def sums(
    x: Array, mask: Array | None, grid: int, *, regions: int, interpret: bool = False
) -> Parts:
    """Sums of the masked region and, with two regions, of the rest. No mask is one of ones.

    Args:
        x: f[b,h,w,c].
        mask: f[b,h,w,1].
        grid: patches per side; see `patch_norm.patches`.
    """
    layout = layout_of(x)
    segments = Segments(layout.height, layout.rows, grid)
    weights = [_segment_sums(w, segments) for w in _weights(x, mask, regions, powers=2)]
    sizes = [w for w in weights[:regions]]
    inverse = jnp.stack([jnp.where(w > 0, 1 / jnp.where(w > 0, w, 1), 0) for w in sizes], 2)
    blocks, count = segments.blocks, segments.count
    inverse = inverse.reshape(layout.batch, blocks, count, regions * grid)
    images = [layout.image(x)] if mask is None else [layout.image(x), layout.mask(mask)]
    vectors = 4 * regions * grid
    sublanes, lanes = layout.tile
    shape = (sublanes, vectors) if layout.turned else (vectors, lanes)
    out_block = pl.BlockSpec((None, None, count, *shape), lambda n, c, r: (n, r, 0, 0, c))
    out_shape = (layout.batch, blocks, count, *layout.vector_shape(vectors))
    out = call_tpu(
        partial(_sums_body, layout=layout, segments=segments, masked=mask is not None),
        name="region_sums",
        semantics=("parallel",) * 3,
        interpret=interpret,
        grid=layout.grid,
        in_specs=[
            pl.BlockSpec(
                (None, None, count, regions * grid),
                lambda n, c, r: (n, r, 0, 0),
                memory_space=pltpu.SMEM,
            ),
            *_image_blocks(layout, images),
        ],
        out_specs=out_block,
        out_shape=out_like(out_shape, jnp.float32, inverse, *images),
        scratch_shapes=[
            pltpu.VMEM((3 * regions, *layout.tile), jnp.float32),
            pltpu.VMEM((regions, *layout.tile), jnp.float32),
            *layout.turned_masks(),
        ],
    )(inverse, *images)
    found = layout.vectors(out).reshape(layout.batch, blocks * count, regions, 4, grid, -1)
    squares = jnp.stack(weights[regions:], 2)
    known = jnp.stack([jnp.stack(sizes, 2), squares], 3)[..., None]
    return Parts(*_by_patch(known, segments), *_by_patch(found, segments))


def blend(x: Array, mask: Array, table: Array, *, interpret: bool = False) -> Array:
    """`body.blend` of every pixel, in the dtype of `x`, with the rows of `body.table`."""
    layout = layout_of(x)
    table = layout.vectors(table[:, : body.BLEND_ROWS])
    images = [layout.image(x), layout.mask(mask)]
    result = _map(
        partial(_blend_body, layout=layout), "region_blend", layout, table, images, x.dtype,
        interpret,
    )  # fmt: skip
    return layout.image(result[0])


def gradient_sums(
    grad: Array, x: Array, mask: Array, centres: Sequence[Array], *, interpret: bool = False
) -> Array:
    """For each region, the sums over the image of grad*m and of grad*m*(x - centre).

    Args:
        centres: f32[b,1,1,c] for each region.

    Returns:
        f32[b,2*regions,c].
    """
    layout = layout_of(x)
    count = 2 * len(centres)
    table = layout.vectors(jnp.concatenate(centres, 1)[:, :, 0])
    images = [layout.image(grad), layout.image(x), layout.mask(mask)]
    out_shape = (layout.batch, layout.grid[2], *layout.vector_shape(count))
    out = call_tpu(
        partial(_gradient_sums_body, layout=layout),
        name="region_gradient_sums",
        semantics=("parallel",) * 3,
        interpret=interpret,
        grid=layout.grid,
        in_specs=[layout.vector_block(len(centres)), *_image_blocks(layout, images)],
        out_specs=layout.vector_block(count, per_block=True),
        out_shape=out_like(out_shape, jnp.float32, table, *images),
        scratch_shapes=[
            pltpu.VMEM((count, *layout.tile), jnp.float32),
            *layout.turned_masks(),
        ],
    )(table, *images)
    return layout.vectors(jnp.sum(out, 1))


def gradient(
    grad: Array,
    x: Array,
    mask: Array,
    table: Array,
    patch: Array | None = None,
    *,
    interpret: bool = False,
) -> tuple[Array, Array]:
    """`body.gradient` of every pixel: towards `x` in its dtype, and f32[b,h,w,1] towards the mask.

    Args:
        table: f32[b,10,c], of `body.table`.
        patch: f32[b,g,g,c], added to the background's `mean` in each patch.
    """
    layout = layout_of(x)
    images = [layout.image(grad), layout.image(x), layout.mask(mask)]
    grid, rows_of_patches = 0, []
    if patch is not None:
        grid = patch.shape[1]
        # Every column its patch's values: the rows of patches are told apart in the kernel.
        rows_of_patches = [layout.image(patch[:, :, patches.indices(layout.width, grid)])]
    out = _map(
        partial(_gradient_body, layout=layout, grid=grid),
        "region_gradient",
        layout,
        layout.vectors(table),
        images,
        x.dtype,
        interpret,
        whole=rows_of_patches,
        towards_mask=True,
    )
    return layout.image(out[0]), _mask_gradient(out[1], layout)


def centred_gradient(
    x: Array, mask: Array | None, rows: Sequence[Array], *, interpret: bool = False
) -> tuple[Array, Array | None]:
    """`body.centred_gradient` of every pixel; nothing towards a mask that is not given.

    Args:
        rows: f32[b,1,1,c] each: centre, mean and square.
    """
    layout = layout_of(x)
    table = layout.vectors(jnp.concatenate(rows, 1)[:, :, 0])
    images = [layout.image(x)] if mask is None else [layout.image(x), layout.mask(mask)]
    out = _map(
        partial(_centred_body, layout=layout),
        "region_centred_gradient",
        layout,
        table,
        images,
        x.dtype,
        interpret,
        towards_mask=mask is not None,
    )
    return layout.image(out[0]), None if mask is None else _mask_gradient(out[1], layout)


def _weights(x: Array, mask: Array | None, regions: int, powers: int) -> list[Array]:
    """f32[b,h,w]: the weights of the regions, then their squares."""
    m = jnp.ones(x.shape[:3], jnp.float32) if mask is None else mask[..., 0].astype(jnp.float32)
    first = [m, 1 - m][:regions]
    return [w**power for power in range(1, powers + 1) for w in first]


def _segment_sums(weights: Array, segments: Segments) -> Array:
    """f32[b,h,w] -> f32[b,blocks*count,g]."""
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


def _image_blocks(layout: Layout, images: Sequence[Array]) -> list[pl.BlockSpec]:
    return [layout.mask_block() if a.ndim == 3 else layout.image_block() for a in images]


def _map(
    kernel: Callable[..., None],
    name: str,
    layout: Layout,
    table: Array,
    images: Sequence[Array],
    dtype: Any,
    interpret: bool,
    *,
    whole: Sequence[Array] = (),
    towards_mask: bool = False,
) -> list[Array]:
    """Runs a body that writes a feature map like the first image and, if asked, sums over each
    block of channels. `whole` are arrays of rows that every block gets all of.
    """
    like, operands = images[0], (table, *images, *whole)
    count = table.shape[-1] if layout.turned else table.shape[1]
    b, columns, blocks = layout.grid
    specs = _image_blocks(layout, images)
    for a in whole:
        specs.append(
            pl.BlockSpec((None, a.shape[1], *layout.tile), lambda n, c, r: (n, 0, 0, c))
        )
    out_specs = [layout.image_block()]
    out_shape = [out_like(like.shape, dtype, *operands)]
    scratch = layout.turned_masks() if any(a.ndim == 3 for a in images) else []
    if towards_mask:
        rows = blocks * layout.rows
        out_specs.append(
            pl.BlockSpec((None, None, layout.rows, layout.width), lambda n, c, r: (n, c, r, 0))
        )
        out_shape.append(out_like((b, columns, rows, layout.width), jnp.float32, *operands))
        scratch = [*scratch, *layout.turned_masks()]
    return call_tpu(
        kernel,
        name=name,
        semantics=("parallel",) * 3,
        interpret=interpret,
        grid=layout.grid,
        in_specs=[layout.vector_block(count), *specs],
        out_specs=out_specs,
        out_shape=out_shape,
        scratch_shapes=scratch,
    )(*operands)


def _mask_gradient(partials: Array, layout: Layout) -> Array:
    return jnp.sum(partials, 1)[:, : layout.height, :, None]


def _tile(ref: Ref, row: Array, group: Any) -> Array:
    return ref[row, group, :].astype(jnp.float32)


def _each_chunk(layout: Layout, step: Callable[[Array], None]) -> None:
    @pl.loop(0, layout.rows // ROWS)
    def _(chunk: Array) -> None:
        step(chunk)


def _sums_body(
    inverse: Ref, x: Ref, *refs: Ref, layout: Layout, segments: Segments, masked: bool
) -> None:
    mask = refs[0] if masked else None
    out, acc, centres, *turned = refs[masked:]
    regions = centres.shape[0]
    grid = segments.grid
    edges = [*range(0, grid * (layout.width // grid), layout.width // grid), layout.width]

    def add_rows(chunk: Array, start: Array, stop: Array, terms: Callable[..., list]) -> None:
        """Adds to `acc` the terms of the rows of a chunk."""
        rows = None if mask is None else MaskRows(layout, mask, chunk, turned)

        def step(group: Any) -> None:
            total: list[Any] = []
            for i in range(ROWS):
                row = chunk * ROWS + i
                inside = (row >= start) & (row < stop)
                # Beyond the image a block is undefined, and 0 times NaN is NaN.
                value = jnp.where(inside, _tile(x, row, group), 0.0)
                whole = jnp.where(inside, 1.0, 0.0)
                m = whole if rows is None else rows.row(i, group) * whole
                found = terms(value, [m, whole - m][:regions], group)
                total = [a + b for a, b in zip(total, found, strict=True)] if total else found
            for index, value in enumerate(total):
                acc[index, group, :] += value

        each_group(layout, step)

    def sweep(start: Array, stop: Array, count: int, terms: Callable[..., list]) -> None:
        for index in range(count):
            acc[index] = jnp.zeros(layout.tile, jnp.float32)

        @pl.loop(start // ROWS, (stop + ROWS - 1) // ROWS)
        def _(chunk: Array) -> None:
            add_rows(chunk, start, stop, terms)

    def patch_sum(index: int, patch: int) -> Array:
        return layout.over_columns(acc[(index, *layout.columns(*edges[patch : patch + 2]))])

    def around(value: Array, weights: list[Array], group: Any) -> list[Array]:
        found = []
        for region, m in enumerate(weights):
            weighted = (value - centres[region, group, :]) * m
            found += [weighted, weighted * m, weighted * weighted]
        return found

    block = pl.program_id(2)

    @pl.loop(0, segments.count)
    def _(s: Array) -> None:
        _, start, stop = segments.bounds(block, s)
        sweep(start, stop, regions, lambda value, weights, _: [value * m for m in weights])
        at = out.at[s]
        for region in range(regions):
            for patch in range(grid):
                centre = patch_sum(region, patch) * inverse[s, region * grid + patch]
                layout.put(at, 4 * region * grid + patch, centre)
                columns = layout.columns(*edges[patch : patch + 2])
                centres[(region, *columns)] = jnp.broadcast_to(
                    centre, centres[(region, *columns)].shape
                )
        sweep(start, stop, 3 * regions, around)
        for region in range(regions):
            for kind in range(3):
                for patch in range(grid):
                    place = (4 * region + 1 + kind) * grid + patch
                    layout.put(at, place, patch_sum(3 * region + kind, patch))


def _blend_body(table: Ref, x: Ref, mask: Ref, out: Ref, *turned: Ref, layout: Layout) -> None:
    def chunk_step(chunk: Array) -> None:
        rows = MaskRows(layout, mask, chunk, list(turned))

        def step(group: Any) -> None:
            fg, bg = body.regions([layout.get(table, k, group) for k in range(body.BLEND_ROWS)])
            for i in range(ROWS):
                row = chunk * ROWS + i
                value = body.blend(_tile(x, row, group), rows.row(i, group), fg, bg)
                out[row, group, :] = value.astype(out.dtype)

        each_group(layout, step)

    _each_chunk(layout, chunk_step)


def _gradient_sums_body(
    table: Ref, grad: Ref, x: Ref, mask: Ref, out: Ref, acc: Ref, *turned: Ref, layout: Layout
) -> None:
    count = acc.shape[0]
    acc[...] = jnp.zeros(acc.shape, acc.dtype)
    below = layout.height - pl.program_id(2) * layout.rows

    def chunk_step(chunk: Array) -> None:
        rows = MaskRows(layout, mask, chunk, list(turned))

        def step(group: Any) -> None:
            centres = [layout.get(table, k, group) for k in range(count // 2)]
            total = [jnp.zeros((), jnp.float32)] * count
            for i in range(ROWS):
                row = chunk * ROWS + i
                inside = row < below
                g = jnp.where(inside, _tile(grad, row, group), 0.0)
                value = jnp.where(inside, _tile(x, row, group), 0.0)
                m = rows.row(i, group)
                for region, weight in enumerate([m, 1 - m][: count // 2]):
                    weighted = g * weight
                    total[2 * region] = total[2 * region] + weighted
                    total[2 * region + 1] = total[2 * region + 1] + weighted * (
                        value - centres[region]
                    )
            for index, value in enumerate(total):
                acc[index, group, :] += value

        each_group(layout, step)

    _each_chunk(layout, chunk_step)
    for index in range(count):
        layout.put(out, index, layout.over_columns(acc[index]))


class _MaskOut:
    """Eight rows of the gradient towards the mask, gathered group by group."""

    def __init__(self, layout: Layout, out: Ref, chunk: Array, turned: list[Ref]) -> None:
        self._layout, self._turned = layout, turned
        self._out = out.at[pl.ds(pl.multiple_of(chunk * ROWS, ROWS), ROWS), :]
        if layout.turned:
            self._out[...] = jnp.zeros((ROWS, layout.width), jnp.float32)

    def add(self, i: int, group: Any, value: Array) -> None:
        total = self._layout.over_channels(value)
        if self._layout.turned:
            self._out[i : i + 1, :] += total
        else:
            self._turned[0][group, i : i + 1] = total

    def write(self) -> None:
        if not self._layout.turned:
            self._out[...] = self._turned[0][...].T


def _gradient_body(
    table: Ref, grad: Ref, x: Ref, mask: Ref, *refs: Ref, layout: Layout, grid: int
) -> None:
    patch = refs[0] if grid else None
    d_x, d_mask, *turned = refs[bool(grid) :]
    top = pl.program_id(2) * layout.rows

    def chunk_step(chunk: Array) -> None:
        rows = MaskRows(layout, mask, chunk, turned[:1])
        towards_mask = _MaskOut(layout, d_mask, chunk, turned[1:])

        def step(group: Any) -> None:
            fg, bg = body.regions([layout.get(table, k, group) for k in range(body.GRADIENT_ROWS)])
            for i in range(ROWS):
                row = chunk * ROWS + i
                pull: Any = 0.0
                if patch is not None:
                    side = layout.height // grid
                    pull = patch[jnp.minimum((top + row) // side, grid - 1), group, :]
                g, value = _tile(grad, row, group), _tile(x, row, group)
                found, dm = body.gradient(g, value, rows.row(i, group), fg, bg, pull)
                d_x[row, group, :] = found.astype(d_x.dtype)
                towards_mask.add(i, group, dm)

        each_group(layout, step)
        towards_mask.write()

    _each_chunk(layout, chunk_step)


def _centred_body(table: Ref, x: Ref, *refs: Ref, layout: Layout) -> None:
    masked = len(refs) > 1
    if masked:
        mask, d_x, d_mask, *turned = refs
    else:
        (d_x,) = refs

    def chunk_step(chunk: Array) -> None:
        if masked:
            rows = MaskRows(layout, mask, chunk, turned[:1])
            towards_mask = _MaskOut(layout, d_mask, chunk, turned[1:])

        def step(group: Any) -> None:
            centre, mean, square = (layout.get(table, k, group) for k in range(3))
            for i in range(ROWS):
                row = chunk * ROWS + i
                m: Any = rows.row(i, group) if masked else 1.0
                found, dm = body.centred_gradient(_tile(x, row, group), m, centre, mean, square)
                d_x[row, group, :] = found.astype(d_x.dtype)
                if masked:
                    towards_mask.add(i, group, dm)

        each_group(layout, step)
        if masked:
            towards_mask.write()

    _each_chunk(layout, chunk_step)

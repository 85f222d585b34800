"""Kernels for TPU; `tpu_tiles` describes the layout of the arrays, `tpu_sums` has `sums`."""

from collections.abc import Callable, Sequence
from functools import partial

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.ops import patches
from jaxharm.ops.kernel_calls import Ref, Rows, call_tpu, out_like, unsupported_dtype
from jaxharm.ops.regions import body, tpu_tiles
from jaxharm.ops.regions.tpu_sums import sums
from jaxharm.ops.regions.tpu_tiles import (
    ROWS,
    Layout,
    MaskRows,
    each_group,
    image_blocks,
    layout_of,
    tile,
)

__all__ = ["blend", "centered_gradient", "gradient", "gradient_sums", "refusal", "sums"]


def refusal(*images: Array | None) -> str | None:
    """The reason why the kernels cannot take these feature maps and masks, or None."""
    first = images[0]
    assert first is not None
    return unsupported_dtype(*images) or tpu_tiles.refusal(first)


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
    grad: Array, x: Array, mask: Array, centers: Sequence[Array], *, interpret: bool = False
) -> Array:
    """For each region, the sums over the image of grad*m and of grad*m*(x - center).

    Args:
        centers: f32[b,1,1,c] for each region.

    Returns:
        f32[b,2*regions,c].
    """
    layout = layout_of(x)
    count = 2 * len(centers)
    table = layout.vectors(jnp.concatenate(centers, 1)[:, :, 0])
    images = [layout.image(grad), layout.image(x), layout.mask(mask)]
    out_shape = (layout.batch, layout.grid[2], *layout.vector_shape(count))
    (out,) = call_tpu(
        partial(_gradient_sums_body, layout=layout),
        name="region_gradient_sums",
        semantics=("parallel",) * 3,
        interpret=interpret,
        grid=layout.grid,
        in_specs=[layout.vector_block(len(centers)), *image_blocks(layout, images)],
        out_specs=[layout.vector_block(count, per_block=True)],
        out_shape=[out_like(out_shape, jnp.float32, table, *images)],
        scratch_shapes=[
            pltpu.VMEM((count, *layout.tile), jnp.float32),
            *layout.mask_scratch(),
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
    """`body.gradient` of every pixel: for `x` in its dtype, and f32[b,h,w,1] for the mask.

    Args:
        table: f32[b,10,c], of `body.table`.
        patch: f32[b,g,g,c], added to the background's `mean` in each patch.
    """
    layout = layout_of(x)
    images = [layout.image(grad), layout.image(x), layout.mask(mask)]
    grid, rows_of_patches = 0, []
    if patch is not None:
        grid = patch.shape[1]
        # Columns are spread over their patches here; the kernel picks the row of patches.
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


def centered_gradient(
    x: Array, mask: Array | None, rows: Sequence[Array], *, interpret: bool = False
) -> tuple[Array, Array | None]:
    """`body.centered_gradient` of every pixel; None for a mask that is not given.

    Args:
        rows: f32[b,1,1,c] each: center, mean and square.
    """
    layout = layout_of(x)
    table = layout.vectors(jnp.concatenate(rows, 1)[:, :, 0])
    images = [layout.image(x)] if mask is None else [layout.image(x), layout.mask(mask)]
    out = _map(
        partial(_centered_body, layout=layout),
        "region_centered_gradient",
        layout,
        table,
        images,
        x.dtype,
        interpret,
        towards_mask=mask is not None,
    )
    return layout.image(out[0]), None if mask is None else _mask_gradient(out[1], layout)


def _map(
    kernel: Callable[..., None],
    name: str,
    layout: Layout,
    table: Array,
    images: Sequence[Array],
    dtype: DTypeLike,
    interpret: bool,
    *,
    whole: Sequence[Array] = (),
    towards_mask: bool = False,
) -> list[Array]:
    """Runs a body that writes a feature map like the first image.

    Args:
        whole: arrays of rows; every block gets all of their rows.
        towards_mask: whether the body also writes sums over each block of channels.
    """
    like, operands = images[0], (table, *images, *whole)
    count = table.shape[-1] if layout.width_in_lanes else table.shape[1]
    b, columns, blocks = layout.grid
    specs = image_blocks(layout, images)
    for a in whole:
        specs.append(pl.BlockSpec((None, a.shape[1], *layout.tile), lambda n, c, r: (n, 0, 0, c)))
    out_specs = [layout.image_block()]
    out_shape = [out_like(like.shape, dtype, *operands)]
    scratch = layout.mask_scratch() if any(a.ndim == 3 for a in images) else []
    if towards_mask:
        rows = blocks * layout.rows
        out_specs.append(
            pl.BlockSpec((None, None, layout.rows, layout.width), lambda n, c, r: (n, c, r, 0))
        )
        out_shape.append(out_like((b, columns, rows, layout.width), jnp.float32, *operands))
        scratch = [*scratch, *layout.mask_scratch()]
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


def _each_chunk(layout: Layout, step: Callable[[Array], None]) -> None:
    @pl.loop(0, layout.rows // ROWS)
    def _(chunk: Array) -> None:
        step(chunk)


def _blend_body(table: Ref, x: Ref, mask: Ref, out: Ref, *scratch: Ref, layout: Layout) -> None:
    def chunk_step(chunk: Array) -> None:
        rows = MaskRows(layout, mask, chunk, list(scratch))

        def step(group: Rows) -> None:
            fg, bg = body.regions([layout.get(table, k, group) for k in range(body.BLEND_ROWS)])
            for i in range(ROWS):
                row = chunk * ROWS + i
                value = body.blend(tile(x, row, group), rows.row(i, group), fg, bg)
                out[row, group, :] = value.astype(out.dtype)

        each_group(layout, step)

    _each_chunk(layout, chunk_step)


def _gradient_sums_body(
    table: Ref, grad: Ref, x: Ref, mask: Ref, out: Ref, acc: Ref, *scratch: Ref, layout: Layout
) -> None:
    count = acc.shape[0]
    acc[...] = jnp.zeros(acc.shape, acc.dtype)
    below = layout.height - pl.program_id(2) * layout.rows

    def chunk_step(chunk: Array) -> None:
        rows = MaskRows(layout, mask, chunk, list(scratch))

        def step(group: Rows) -> None:
            centers = [layout.get(table, k, group) for k in range(count // 2)]
            total = [jnp.zeros((), jnp.float32)] * count
            for i in range(ROWS):
                row = chunk * ROWS + i
                # Beyond the image a block is undefined, and 0 times NaN is NaN.
                inside = row < below
                g = jnp.where(inside, tile(grad, row, group), 0.0)
                value = jnp.where(inside, tile(x, row, group), 0.0)
                m = rows.row(i, group)
                for region, weight in enumerate([m, 1 - m][: count // 2]):
                    weighted = g * weight
                    total[2 * region] = total[2 * region] + weighted
                    total[2 * region + 1] = total[2 * region + 1] + weighted * (
                        value - centers[region]
                    )
            for index, value in enumerate(total):
                acc[index, group, :] += value

        each_group(layout, step)

    _each_chunk(layout, chunk_step)
    for index in range(count):
        layout.put(out, index, layout.over_columns(acc[index]))


class _MaskOut:
    """Eight rows of the mask's gradient, collected group by group."""

    def __init__(self, layout: Layout, out: Ref, chunk: Array, scratch: list[Ref]) -> None:
        self._layout, self._scratch = layout, scratch
        self._out = out.at[pl.ds(pl.multiple_of(chunk * ROWS, ROWS), ROWS), :]
        if layout.width_in_lanes:
            self._out[...] = jnp.zeros((ROWS, layout.width), jnp.float32)

    def add(self, i: int, group: Rows, value: Array) -> None:
        """Adds a group of sublanes of row i, summed over its channels."""
        total = self._layout.over_channels(value)
        if self._layout.width_in_lanes:
            self._out[i : i + 1, :] += total
        else:
            self._scratch[0][group, i : i + 1] = total

    def write(self) -> None:
        """Writes the rows, once all groups were added."""
        # With channels in the lanes each sum is a column: eight of them are transposed at once.
        if not self._layout.width_in_lanes:
            self._out[...] = self._scratch[0][...].T


def _gradient_body(
    table: Ref, grad: Ref, x: Ref, mask: Ref, *refs: Ref, layout: Layout, grid: int
) -> None:
    patch = refs[0] if grid else None
    d_x, d_mask, *scratch = refs[bool(grid) :]
    top = pl.program_id(2) * layout.rows

    def chunk_step(chunk: Array) -> None:
        rows = MaskRows(layout, mask, chunk, scratch[:1])
        towards_mask = _MaskOut(layout, d_mask, chunk, scratch[1:])

        def step(group: Rows) -> None:
            fg, bg = body.regions([layout.get(table, k, group) for k in range(body.GRADIENT_ROWS)])
            for i in range(ROWS):
                row = chunk * ROWS + i
                patch_term: Array | float = 0.0
                if patch is not None:
                    side = layout.height // grid
                    patch_term = patch[jnp.minimum((top + row) // side, grid - 1), group, :]
                g, value = tile(grad, row, group), tile(x, row, group)
                found, dm = body.gradient(g, value, rows.row(i, group), fg, bg, patch_term)
                d_x[row, group, :] = found.astype(d_x.dtype)
                towards_mask.add(i, group, dm)

        each_group(layout, step)
        towards_mask.write()

    _each_chunk(layout, chunk_step)


def _centered_body(table: Ref, x: Ref, *refs: Ref, layout: Layout) -> None:
    masked = len(refs) > 1
    if masked:
        mask, d_x, d_mask, *scratch = refs
    else:
        (d_x,) = refs

    def chunk_step(chunk: Array) -> None:
        if masked:
            rows = MaskRows(layout, mask, chunk, scratch[:1])
            towards_mask = _MaskOut(layout, d_mask, chunk, scratch[1:])

        def step(group: Rows) -> None:
            center, mean, square = (layout.get(table, k, group) for k in range(3))
            for i in range(ROWS):
                row = chunk * ROWS + i
                m = rows.row(i, group) if masked else 1.0
                found, dm = body.centered_gradient(tile(x, row, group), m, center, mean, square)
                d_x[row, group, :] = found.astype(d_x.dtype)
                if masked:
                    towards_mask.add(i, group, dm)

        each_group(layout, step)
        if masked:
            towards_mask.write()

    _each_chunk(layout, chunk_step)

"""Kernels for TPU: rows of the image as tiles of (width, channels), and of its kernels, tap by tap.

The border is a padded copy of the image, read through windows of rows that overlap by the border.
Kernels shared by a group of channels are repeated for each of them first.
"""
# Why this layout: a tap's shift moves whole tiles (rows) or sublanes (columns), never lanes.

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxharm.interfaces import Array
from jaxharm.ops.dynamic_filter.border import Border, border_of
from jaxharm.ops.dynamic_filter.configs import TPU
from jaxharm.ops.kernel_calls import Ref, block_sizes, call_tpu, out_like, unsupported_dtype


class Plan(NamedTuple):
    """The grid and its blocks: `rows` x width x `channels` of every array."""

    rows: int
    channels: int
    steps: int  # blocks of rows
    grid: tuple[int, int, int]  # image, block of channels, block of rows


def refusal(x: Array, kernels: Array, dilation: int, padding: str) -> str | None:
    """The reason why the kernels cannot take these arguments, or None."""
    border = border_of(kernels, dilation, padding)
    if _row_bytes(x, border) > block_sizes(TPU).bytes:
        return f"one row of {x.shape[2]} pixels with its kernels does not fit into VMEM"
    return border.too_far(x) or unsupported_dtype(x, kernels)


def forward(
    x: Array, kernels: Array, dilation: int, padding: str, interpret: bool = False
) -> Array:
    """See `reference.forward`."""
    border = border_of(kernels, dilation, padding)
    plan = _plan(x, border)
    padded, taps = _padded(x, plan, border), _planes(x, kernels)
    (result,) = call_tpu(
        partial(_forward_body, border=border),
        name="dynamic_filter_forward",
        semantics=("parallel",) * 3,
        interpret=interpret,
        grid=plan.grid,
        in_specs=[_window(padded, plan, border), _tap_block(taps, plan)],
        out_specs=[_block(x, plan)],
        out_shape=[out_like(x.shape, x.dtype, x, kernels)],
    )(padded, taps)
    return result


def backward(
    x: Array,
    kernels: Array,
    upstream: Array,
    dilation: int,
    padding: str,
    interpret: bool = False,
) -> tuple[Array, Array]:
    """See `reference.backward`."""
    border = border_of(kernels, dilation, padding)
    plan = _plan(x, border)
    padded, taps = _padded(x, plan, border), _planes(x, kernels)
    # Summed over a group's channels afterwards: until then in float32.
    d_taps_dtype = jnp.float32 if x.shape[3] > kernels.shape[3] else taps.dtype
    (d_taps,) = call_tpu(
        partial(_kernels_body, border=border),
        name="dynamic_filter_d_kernels",
        semantics=("parallel",) * 3,
        interpret=interpret,
        grid=plan.grid,
        in_specs=[_window(padded, plan, border), _block(x, plan)],
        out_specs=[_tap_block(taps, plan)],
        out_shape=[out_like(taps.shape, d_taps_dtype, x, taps)],
    )(padded, upstream)
    return _image_gradient(x, taps, upstream, plan, border, interpret), _kernels(d_taps, kernels)


def _image_gradient(
    x: Array, taps: Array, upstream: Array, plan: Plan, border: Border, interpret: bool
) -> Array:
    b, h, w, c = x.shape
    # The rows that a block adds to lie `tail` rows further down than its own: they are held over
    # for the next step, and those of the last step are a result of their own.
    wide, tail = w + 2 * border.reach, max(2 * border.reach, 1)
    # The mirrored border is added to the image afterwards: until then in float32.
    folded = jnp.float32 if border.reflect else x.dtype
    rows, last = call_tpu(
        partial(_image_body, border=border, height=h),
        name="dynamic_filter_d_image",
        semantics=("parallel", "parallel", "arbitrary"),
        interpret=interpret,
        grid=plan.grid,
        in_specs=[_block(x, plan), _tap_block(taps, plan)],
        out_specs=[
            pl.BlockSpec((None, plan.rows, wide, plan.channels), lambda n, c, r: (n, r, 0, c)),
            pl.BlockSpec((None, tail, wide, plan.channels), lambda n, c, r: (n, 0, 0, c)),
        ],
        out_shape=[
            out_like((b, plan.steps * plan.rows, wide, c), folded, x, taps),
            out_like((b, tail, wide, c), folded, x, taps),
        ],
        scratch_shapes=[
            pltpu.VMEM((plan.rows + 2 * border.reach, wide, plan.channels), jnp.float32)
        ],
    )(upstream, taps)
    d_padded = jnp.concatenate([rows, last], 1)[:, : h + 2 * border.reach]
    return border.fold(d_padded).astype(x.dtype)


def _planes(x: Array, kernels: Array) -> Array:
    """[b,h,K*K,w,c]: a row per tap, each group's kernel repeated for its channels."""
    # XLA stores [b,h,w,c,K,K] of 128 channels in this order, so that nothing is moved.
    b, h, w, groups, side, _ = kernels.shape
    taps = jnp.moveaxis(kernels.reshape(b, h, w, groups, side * side), -1, 2)
    repeats = x.shape[3] // groups
    return jnp.repeat(taps, repeats, -1) if repeats > 1 else taps


def _kernels(taps: Array, like: Array) -> Array:
    """The gradient of `_planes`: sums over the channels of a group, in the layout of `like`."""
    b, h, w, groups, side, _ = like.shape
    if taps.shape[-1] > groups:
        taps = jnp.sum(taps.reshape(b, h, side * side, w, groups, -1), -1)
    return jnp.moveaxis(taps, 2, -1).reshape(like.shape).astype(like.dtype)


def _padded(x: Array, plan: Plan, border: Border) -> Array:
    return border.pad(x, plan.steps * plan.rows - x.shape[1])


def _channels(c: int) -> int:
    """Channels of a block: a tile's lanes where they divide all channels, else all channels."""
    block = block_sizes(TPU).channels
    return block if c % block == 0 else c


def _row_bytes(x: Array, border: Border) -> int:
    """Bytes in VMEM of one row's blocks in the largest kernel, as float32 in whole tiles."""
    _, _, w, c = x.shape
    lanes = pl.cdiv(_channels(c), 128) * 128
    return 4 * (border.side**2 + 3) * (pl.cdiv(w, 8) * 8 + 2 * border.reach) * lanes


def _plan(x: Array, border: Border) -> Plan:
    b, h, _, c = x.shape
    channels = _channels(c)
    rows = max(1, min(h, block_sizes(TPU).bytes // _row_bytes(x, border)))
    steps = pl.cdiv(h, rows)
    return Plan(rows, channels, steps, (b, c // channels, steps))


def _block(x: Array, plan: Plan) -> pl.BlockSpec:
    return pl.BlockSpec((None, plan.rows, x.shape[2], plan.channels), lambda n, c, r: (n, r, 0, c))


def _tap_block(taps: Array, plan: Plan) -> pl.BlockSpec:
    return pl.BlockSpec(
        (None, plan.rows, *taps.shape[2:4], plan.channels), lambda n, c, r: (n, r, 0, 0, c)
    )


def _window(padded: Array, plan: Plan, border: Border) -> pl.BlockSpec:
    """Rows of a block and the border above and below: windows that overlap."""
    rows, wide, channels = plan.rows, padded.shape[2], plan.channels
    return pl.BlockSpec(
        (
            pl.Element(1),
            pl.Element(rows + 2 * border.reach),
            pl.Element(wide),
            pl.Element(channels),
        ),
        # Mosaic wants to see that the lanes start at a tile: a product with 64 would not do.
        lambda n, c, r: (n, r * rows, 0, c * channels if channels % 128 == 0 else 0),
    )


def _each_row(rows: int, step: Callable[[Array], None]) -> None:
    @pl.loop(0, rows)
    def _(row: Array) -> None:
        step(row)


def _forward_body(x: Ref, taps: Ref, out: Ref, *, border: Border) -> None:
    width = out.shape[1]

    def step(row: Array) -> None:
        total = jnp.zeros(out.shape[1:], jnp.float32)
        for tap, down, right in border.taps():
            window = x[0, row + down, right : right + width].astype(jnp.float32)
            total += window * taps[row, tap].astype(jnp.float32)
        out[row] = total.astype(out.dtype)

    _each_row(out.shape[0], step)


def _kernels_body(x: Ref, upstream: Ref, d_taps: Ref, *, border: Border) -> None:
    width = upstream.shape[1]

    def step(row: Array) -> None:
        g = upstream[row].astype(jnp.float32)
        for tap, down, right in border.taps():
            window = x[0, row + down, right : right + width].astype(jnp.float32)
            d_taps[row, tap] = (g * window).astype(d_taps.dtype)

    _each_row(upstream.shape[0], step)


def _image_body(
    upstream: Ref, taps: Ref, rows_out: Ref, last: Ref, held: Ref, *, border: Border, height: int
) -> None:
    rows, width = upstream.shape[:2]
    over = 2 * border.reach
    step_of_grid = pl.program_id(2)

    @pl.when(step_of_grid == 0)
    def _() -> None:
        held[...] = jnp.zeros(held.shape, held.dtype)

    @pl.when(step_of_grid > 0)
    def _() -> None:
        for row in range(over):  # upwards: what is moved has not been overwritten yet
            held[row] = held[row + rows]
        held[over:] = jnp.zeros((rows, *held.shape[1:]), held.dtype)

    def step(row: Array) -> None:
        # Rows of a block beyond the image are undefined and must not be added.
        inside = step_of_grid * rows + row < height
        g = upstream[row].astype(jnp.float32)
        for tap, down, right in border.taps():
            value = jnp.where(inside, g * taps[row, tap].astype(jnp.float32), 0.0)
            held[row + down, right : right + width] += value

    _each_row(rows, step)
    rows_out[...] = held[:rows].astype(rows_out.dtype)

    @pl.when(step_of_grid == pl.num_programs(2) - 1)
    def _() -> None:
        if over:
            last[...] = held[rows:].astype(last.dtype)
        else:
            last[...] = jnp.zeros(last.shape, last.dtype)

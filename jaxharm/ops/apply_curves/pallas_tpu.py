"""Kernels for TPU, on planes [b,c,h,w] of the image: rows and columns fill the tiles of (8,128)."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxharm.interfaces import Array
from jaxharm.ops.apply_curves.body import Blend, blend_gradients, hat, position, render, slope
from jaxharm.ops.apply_curves.configs import TPU_BACKWARD, TPU_FORWARD, TpuBlocks
from jaxharm.ops.kernel_calls import Ref, block_sizes, call_tpu, out_like, unsupported_dtype

_UNROLLED = 64  # knots up to which the loop over them is written out


def refusal(*arguments: Array | None) -> str | None:
    """The reason why the kernels cannot take these arguments, or None."""
    return unsupported_dtype(*arguments)


def forward(*arguments: Array | None, interpret: bool = False) -> Array:
    """See `reference.forward`."""
    curves, planes, given = _planes(arguments)
    image = planes[0]
    blocks = block_sizes(TPU_FORWARD)
    grid, specs = _blocks(image.shape, blocks)
    (result,) = call_tpu(
        partial(_forward_body, given=given, rows=_rows(image.shape, blocks)),
        name="apply_curves_forward",
        semantics=("parallel",) * 3,
        interpret=interpret,
        grid=grid,
        in_specs=[_curve_spec(curves), *(specs(p.shape[1]) for p in planes)],
        out_specs=[specs(3)],
        out_shape=[out_like(image.shape, image.dtype, curves, *planes)],
    )(curves, *planes)
    return jnp.moveaxis(result, 1, -1)


def backward(
    arguments: tuple[Array | None, ...], upstream: Array, interpret: bool = False
) -> tuple[Array | None, ...]:
    """See `reference.backward`."""
    curves, planes, given = _planes(arguments)
    inputs = [jnp.moveaxis(upstream, -1, 1), *planes]
    h, w = planes[0].shape[2:]
    knots = curves.shape[-1]
    blocks = block_sizes(TPU_BACKWARD)
    rows, width = _rows(planes[0].shape, blocks), min(blocks.width, w)
    grid, specs = _blocks(planes[0].shape, blocks)
    partial_sums = (*grid[:2], 3, knots)
    # The sums' index leaves out the block's row: the steps of a column of blocks carry them on.
    sum_spec = pl.BlockSpec((None, None, 3, knots), lambda i, c, r: (i, c, 0, 0))
    shapes = [out_like(p.shape, p.dtype, curves, *inputs) for p in planes]
    *gradients, sums = call_tpu(
        partial(_backward_body, given=given, rows=rows, size=(h, w)),
        name="apply_curves_backward",
        semantics=("parallel", "parallel", "arbitrary"),
        interpret=interpret,
        grid=grid,
        in_specs=[_curve_spec(curves), *(specs(p.shape[1]) for p in inputs)],
        out_specs=[*(specs(p.shape[1]) for p in planes), sum_spec],
        out_shape=[*shapes, out_like(partial_sums, jnp.float32, curves, *inputs)],
        scratch_shapes=[pltpu.VMEM((3, knots, _fold(rows), width), jnp.float32)],
    )(curves, *inputs)
    d_curves = jnp.sum(sums, 1).astype(curves_dtype(arguments))
    found = dict(zip(given, (jnp.moveaxis(g, 1, -1) for g in gradients), strict=True))
    return (
        found["image"],
        d_curves,
        found.get("mask"),
        found.get("shading"),
        found.get("background"),
    )


def curves_dtype(arguments: Sequence[Array | None]) -> jnp.dtype:
    """The dtype of the curves among the arguments."""
    assert arguments[1] is not None
    return arguments[1].dtype


def _planes(arguments: Sequence[Array | None]) -> tuple[Array, list[Array], tuple[str, ...]]:
    """Curves in float32, the images as [b,c,h,w], and the names of the latter."""
    image, curves, mask, shading, background = arguments
    assert curves is not None
    images = {"image": image, "mask": mask, "shading": shading, "background": background}
    present = {name: jnp.moveaxis(a, -1, 1) for name, a in images.items() if a is not None}
    return curves.astype(jnp.float32), list(present.values()), tuple(present)


def _curve_spec(curves: Array) -> pl.BlockSpec:
    return pl.BlockSpec(
        (None, *curves.shape[1:]), lambda i, c, r: (i, 0, 0), memory_space=pltpu.SMEM
    )


def _rows(shape: Sequence[int], blocks: TpuBlocks) -> int:
    return min(blocks.rows, shape[2])


def _fold(rows: int) -> int:
    """Rows of an accumulator: those of a float32 tile, where they divide the loop's rows."""
    return 8 if rows % 8 == 0 else rows


def _blocks(
    shape: Sequence[int], blocks: TpuBlocks
) -> tuple[tuple[int, int, int], Callable[[int], pl.BlockSpec]]:
    """The grid (image, block column, block row), and the block of planes with c channels."""
    b, _, h, w = shape
    rows = _rows(shape, blocks)
    height, width = min(blocks.height, pl.cdiv(h, rows) * rows), min(blocks.width, w)

    def spec(channels: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, channels, height, width), lambda i, c, r: (i, 0, r, c))

    return (b, pl.cdiv(w, width), pl.cdiv(h, height)), spec


def _loop_rows(height: int, rows: int, step: Callable[[pl.Slice], None]) -> None:
    """Calls `step` with one group of rows after the other."""
    if height == rows:
        step(pl.Slice(0, rows))
        return

    @pl.loop(0, height // rows)
    def _(i: Array) -> None:
        step(pl.Slice(pl.multiple_of(i * rows, rows), rows))


def _look_up(x: Array, curves: Ref, channel: int) -> tuple[Array, Array, Array]:
    """Value, rise of the interval and position, for one channel."""
    knots = curves.shape[-1]
    t = position(x, knots)

    # TPUs have no fast gather. Instead, where the position is at least k, the interval is at least
    # the k-th: after all knots each pixel holds the value and the rise of its own interval. That is
    # three operations a knot (six for a sum of hats), and exactly the reference's arithmetic.
    def passed(k: Array | np.int32, held: tuple[Array, Array]) -> tuple[Array, Array]:
        low, rise = held
        here = curves[channel, k]
        past = t >= k.astype(jnp.float32)
        return jnp.where(past, here, low), jnp.where(past, curves[channel, k + 1] - here, rise)

    first = curves[channel, 0]
    held = (jnp.full_like(t, first), jnp.full_like(t, curves[channel, 1] - first))
    if knots <= _UNROLLED:
        for k in range(1, knots - 1):
            held = passed(np.int32(k), held)
    else:
        held = jax.lax.fori_loop(np.int32(1), np.int32(knots - 1), passed, held)
    low, rise = held
    return low + (t - jnp.minimum(jnp.floor(t), knots - 2.0)) * rise, rise, t


def _f32(ref: Ref, channel: int, rows: pl.Slice) -> Array:
    return ref[channel, rows, :].astype(jnp.float32)


def _blend_of(refs: dict[str, Ref], channel: int, rows: pl.Slice) -> Blend:
    shading = refs.get("shading")
    return Blend(
        mask=_f32(refs["mask"], 0, rows),
        background=_f32(refs["background"], channel, rows),
        shading=None if shading is None else _f32(shading, 0, rows),
    )


def _forward_body(curves: Ref, *refs: Ref, given: tuple[str, ...], rows: int) -> None:
    *inputs, out = refs
    named = dict(zip(given, inputs, strict=True))

    def step(at: pl.Slice) -> None:
        for c in range(3):
            result = _look_up(_f32(named["image"], c, at), curves, c)[0]
            if "mask" in named:
                result = render(result, _blend_of(named, c, at))
            out[c, at, :] = result.astype(out.dtype)

    _loop_rows(out.shape[1], rows, step)


def _backward_body(
    curves: Ref,
    upstream: Ref,
    *refs: Ref,
    given: tuple[str, ...],
    rows: int,
    size: tuple[int, int],
) -> None:
    count = len(given)
    named = dict(zip(given, refs[:count], strict=True))
    gradients = dict(zip(given, refs[count : 2 * count], strict=True))
    sums, held = refs[2 * count :]
    knots = curves.shape[-1]
    height, width = upstream.shape[1:]
    # What a block has beyond the image is undefined and must not enter the sums.
    top, left = pl.program_id(2) * height, pl.program_id(1) * width

    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        held[...] = jnp.zeros(held.shape, held.dtype)

    def step(at: pl.Slice) -> None:
        shape = (rows, width)
        row = top + at.start + jax.lax.broadcasted_iota(jnp.int32, shape, 0)
        column = left + jax.lax.broadcasted_iota(jnp.int32, shape, 1)
        inside = (row < size[0]) & (column < size[1])
        d_mask = d_shading = jnp.zeros(shape, jnp.float32)
        g, t = [], []
        for c in range(3):
            g_c = _f32(upstream, c, at)
            curved, rise, t_c = _look_up(_f32(named["image"], c, at), curves, c)
            if "mask" in named:
                d_blend = blend_gradients(g_c, curved, _blend_of(named, c, at))
                g_c, d_mask = d_blend.curved, d_mask + d_blend.mask
                gradients["background"][c, at, :] = d_blend.background.astype(
                    gradients["background"].dtype
                )
                if d_blend.shading is not None:
                    d_shading = d_shading + d_blend.shading
            d_image = g_c * slope(t_c, rise, knots)
            gradients["image"][c, at, :] = d_image.astype(gradients["image"].dtype)
            g.append(jnp.where(inside, g_c, 0.0))
            t.append(jnp.where(inside, t_c, 0.0))
        for name, value in (("mask", d_mask), ("shading", d_shading)):
            if name in gradients:
                gradients[name][0, at, :] = value.astype(gradients[name].dtype)
        _add_hats(held, g, t)

    _loop_rows(height, rows, step)

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _() -> None:
        _write_sums(sums, held)


def _add_hats(held: Ref, g: list[Array], t: list[Array]) -> None:
    """Adds g * hat_k(t), folded to the rows of a tile, to the accumulators [3,k,rows,width]."""
    rows = held.shape[2]

    def add(k: Array, _: None) -> None:
        for c in range(3):
            value = g[c] * hat(t[c], k.astype(jnp.float32))
            folded = value[:rows]
            for start in range(rows, value.shape[0], rows):
                folded = folded + value[start : start + rows]
            held[c, k] += folded

    jax.lax.fori_loop(*_span(g, t, held.shape[1]), add, None)


def _span(g: list[Array], t: list[Array], knots: int) -> tuple[Array, Array]:
    """First knot whose sum these pixels add to, and one after the last."""
    # Pixels with gradient 0 (outside the mask) add to none, so that the background costs no sums.
    low, high = jnp.full_like(t[0], knots), jnp.full_like(t[0], -2.0)
    for g_c, t_c in zip(g, t, strict=True):
        low = jnp.minimum(low, jnp.where(g_c != 0, t_c, knots))
        high = jnp.maximum(high, jnp.where(g_c != 0, t_c, -2.0))
    # Clipped, because a NaN becomes any integer.
    first = jnp.clip(jnp.min(low).astype(jnp.int32), 0, knots)
    return first, jnp.clip(jnp.max(high).astype(jnp.int32) + 2, 0, knots)


def _write_sums(sums: Ref, held: Ref) -> None:
    """Each accumulator's total, at its place in [3,knots]."""
    knots = held.shape[1]
    channel = jax.lax.broadcasted_iota(jnp.int32, (3, knots), 0)
    lane = jax.lax.broadcasted_iota(jnp.int32, (3, knots), 1)

    def place(k: Array, result: Array) -> Array:
        for c in range(3):
            result = jnp.where((channel == c) & (lane == k), jnp.sum(held[c, k]), result)
        return result

    sums[...] = jax.lax.fori_loop(
        np.int32(0), np.int32(knots), place, jnp.zeros((3, knots), jnp.float32)
    )

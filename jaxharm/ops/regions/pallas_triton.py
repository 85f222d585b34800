"""Kernels for GPU through Triton.

A program takes a strip of one patch and some channels, tile by tile of (pixels, channels): a pixel's
channels are neighbours in memory, so that whole sectors are read. A tile stays in registers while
its mean and the sums around it are taken; tiles are joined as in `sums`. Every program writes sums
of its own, and reductions add them: no atomics.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pltriton

from jaxharm.ops.kernel_calls import Ref, call_triton, out_like, tabled, unsupported_dtype
from jaxharm.ops.regions import body
from jaxharm.ops.regions.configs import GPU
from jaxharm.ops.regions.sums import Parts
from jaxharm.types import Array

_CHANNELS = 64  # of a tile, at most
_KINDS = len(Parts._fields)


class Plan(NamedTuple):
    """How the work is cut: tiles of `pixels` x `lanes`, `tiles` of them in a strip, and `strips` in
    the largest patch; smaller ones have empty tiles.
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

    @property
    def columns(self) -> int:
        """Blocks of channels."""
        return pl.cdiv(self.channels, self.lanes)

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.batch, self.patches**2 * self.strips, self.columns


class Tile(NamedTuple):
    """The numbers of one tile: some pixels and channels, which need not all exist."""

    image: Array
    column: Array  # block of channels
    pixel: Array  # [pixels]
    exists: Array
    channel: Array  # [lanes]
    channel_exists: Array

    @property
    def inside(self) -> Array:
        return self.exists[:, None] & self.channel_exists[None, :]

    def load(self, ref: Ref) -> Array:
        """Of [b,pixels,c]: f32[pixels,lanes], zero where nothing is."""
        at = ref.at[self.image, self.pixel[:, None], self.channel[None, :]]
        return pltriton.load(at, mask=self.inside, other=0.0).astype(jnp.float32)

    def store(self, ref: Ref, value: Array) -> None:
        at = ref.at[self.image, self.pixel[:, None], self.channel[None, :]]
        pltriton.store(at, value.astype(ref.dtype), mask=self.inside)

    def load_mask(self, ref: Ref | None) -> Array:
        """Of [b,pixels]: f32[pixels,1], zero where nothing is. No mask is one of ones."""
        if ref is None:
            return self.exists.astype(jnp.float32)[:, None]
        at = ref.at[self.image, self.pixel]
        return pltriton.load(at, mask=self.exists, other=0.0).astype(jnp.float32)[:, None]

    def rest(self, mask: Array) -> Array:
        """1 - mask, zero where nothing is."""
        return self.exists.astype(jnp.float32)[:, None] - mask


def refusal(*images: Array | None) -> str | None:
    """Why the kernels cannot take these feature maps and masks, or None."""
    first = images[0]
    assert first is not None
    if first.size >= 2**31:
        return f"a batch of {first.size} numbers needs 64-bit indices"
    return unsupported_dtype(*images)


def sums(
    x: Array, mask: Array | None, grid: int, *, regions: int, interpret: bool = False
) -> Parts:
    """See `pallas_tpu.sums`."""
    plan = _plan(x, grid)
    arrays = [_flat(x)] if mask is None else [_flat(x), _flat_mask(mask)]
    out = _call(
        partial(_sums_body, plan=plan, regions=regions, masked=mask is not None),
        "sums",
        plan,
        arrays,
        [_strip_sums(plan, regions * _KINDS, arrays)],
        interpret,
    )[0]
    b, c = plan.batch, plan.channels
    split = out.reshape(b, plan.patches**2, plan.strips, regions, _KINDS, c)
    return Parts(*jnp.transpose(split, (4, 0, 2, 1, 3, 5)))


def blend(x: Array, mask: Array, table: Array, *, interpret: bool = False) -> Array:
    """See `pallas_tpu.blend`."""
    plan = _plan(x)
    arrays = [table[:, : body.BLEND_ROWS], _flat(x), _flat_mask(mask)]
    out = [out_like(arrays[1].shape, x.dtype, *arrays)]
    return _call(partial(_blend_body, plan=plan), "blend", plan, arrays, out, interpret)[0].reshape(
        x.shape
    )


def gradient_sums(
    grad: Array, x: Array, mask: Array, centres: Sequence[Array], *, interpret: bool = False
) -> Array:
    """See `pallas_tpu.gradient_sums`."""
    plan = _plan(x)
    table = jnp.concatenate(centres, 1)[:, :, 0]
    arrays = [table, _flat(grad), _flat(x), _flat_mask(mask)]
    out = [_strip_sums(plan, 2 * len(centres), arrays)]
    kernel = partial(_gradient_sums_body, plan=plan)
    return jnp.sum(_call(kernel, "gradient_sums", plan, arrays, out, interpret)[0], 1)


def gradient(
    grad: Array,
    x: Array,
    mask: Array,
    table: Array,
    patch: Array | None = None,
    *,
    interpret: bool = False,
) -> tuple[Array, Array]:
    """See `pallas_tpu.gradient`."""
    plan = _plan(x, 1 if patch is None else patch.shape[1])
    arrays = [table, _flat(grad), _flat(x), _flat_mask(mask)]
    if patch is not None:
        arrays.append(_flat(patch))
    d_x, d_mask = _call(
        partial(_gradient_body, plan=plan, patched=patch is not None),
        "gradient",
        plan,
        arrays,
        [out_like(arrays[2].shape, x.dtype, *arrays), _mask_sums(plan, arrays)],
        interpret,
    )
    return d_x.reshape(x.shape), jnp.sum(d_mask, 1).reshape(mask.shape)


def centred_gradient(
    x: Array, mask: Array | None, rows: Sequence[Array], *, interpret: bool = False
) -> tuple[Array, Array | None]:
    """See `pallas_tpu.centred_gradient`."""
    plan = _plan(x)
    arrays = [jnp.concatenate(rows, 1)[:, :, 0], _flat(x)]
    if mask is not None:
        arrays.append(_flat_mask(mask))
    out = [out_like(arrays[1].shape, x.dtype, *arrays)]
    if mask is not None:
        out.append(_mask_sums(plan, arrays))
    kernel = partial(_centred_body, plan=plan, masked=mask is not None)
    found = _call(kernel, "centred_gradient", plan, arrays, out, interpret)
    d_mask = None if mask is None else jnp.sum(found[1], 1).reshape(mask.shape)
    return found[0].reshape(x.shape), d_mask


def _plan(x: Array, grid: int = 1) -> Plan:
    b, h, w, c = x.shape
    blocks = tabled(GPU)
    lanes = min(_CHANNELS, pl.next_power_of_2(c))
    pixels = blocks.size // lanes
    tall, wide = (n - (grid - 1) * (n // grid) for n in (h, w))
    tiles = min(blocks.tiles, pl.cdiv(tall * wide, pixels))
    strips = pl.cdiv(tall * wide, pixels * tiles)
    return Plan(b, h, w, c, grid, pixels, lanes, tiles, strips, blocks.warps)


def _flat(x: Array) -> Array:
    """[b,h,w,c] as [b,pixels,c]."""
    return x.reshape(x.shape[0], -1, x.shape[3])


def _flat_mask(mask: Array) -> Array:
    return mask.reshape(mask.shape[0], -1)


def _strip_sums(plan: Plan, count: int, arrays: Sequence[Array]) -> jax.ShapeDtypeStruct:
    return out_like((plan.batch, plan.grid[1], count, plan.channels), jnp.float32, *arrays)


def _mask_sums(plan: Plan, arrays: Sequence[Array]) -> jax.ShapeDtypeStruct:
    """Towards the mask, a sum for each block of channels."""
    pixels = plan.height * plan.width
    return out_like((plan.batch, plan.columns, pixels), jnp.float32, *arrays)


def _call(
    kernel: Callable[..., None],
    name: str,
    plan: Plan,
    arrays: Sequence[Array],
    out_shape: Sequence[jax.ShapeDtypeStruct],
    interpret: bool,
) -> list[Array]:
    return call_triton(
        kernel,
        name=f"region_{name}",
        warps=plan.warps,
        interpret=interpret,
        grid=plan.grid,
        out_shape=list(out_shape),
    )(*arrays)


def _channels(plan: Plan) -> tuple[Array, Array]:
    channel = pl.program_id(2) * plan.lanes + jnp.arange(plan.lanes, dtype=jnp.int32)
    return channel, channel < plan.channels


def _each_tile(plan: Plan, step: Callable[[Tile, Any], Any], carry: Any) -> Any:
    """Folds `step` over the tiles of this program's strip."""
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

    def one(index: Array, carry: Any) -> Any:
        first = (strip * plan.tiles + index) * plan.pixels
        at = first + jnp.arange(plan.pixels, dtype=jnp.int32)
        # Nothing is negative: no need of the corrections of // and %, which Triton does not lower.
        pixel = (top + jax.lax.div(at, wide)) * plan.width + left + jax.lax.rem(at, wide)
        exists = at < tall * wide
        return step(Tile(image, column, pixel, exists, channel, channel_exists), carry)

    return jax.lax.fori_loop(np.int32(0), np.int32(plan.tiles), one, carry)


def _side(size: int, grid: int, index: Array) -> tuple[Array, Array]:
    """First pixel and number of pixels of a patch, along one side."""
    step, remainder = size // grid, size % grid
    return index * step, step + (index + 1) // grid * remainder  # the last one has the remainder


def _get(vectors: Ref, index: int, plan: Plan) -> Array:
    """f32[1,lanes] of a table [b,k,c]."""
    channel, exists = _channels(plan)
    at = vectors.at[pl.program_id(0), index, channel]
    return pltriton.load(at, mask=exists, other=0.0)[None, :]


def _put(vectors: Ref, index: int, value: Array, plan: Plan) -> None:
    channel, exists = _channels(plan)
    at = vectors.at[pl.program_id(0), pl.program_id(1), index, channel]
    pltriton.store(at, value, mask=exists)


def _tile_sums(x: Array, m: Array, lanes: int) -> Parts:
    """Of one tile and region, f32[lanes] each."""
    weight, squares = jnp.sum(m), jnp.sum(m * m)
    inverse = jnp.where(weight > 0, 1 / jnp.where(weight > 0, weight, 1.0), 0.0)
    centre = jnp.sum(x * m, 0) * inverse
    weighted = (x - centre[None, :]) * m
    return Parts(
        jnp.full((lanes,), weight),
        jnp.full((lanes,), squares),
        centre,
        jnp.sum(weighted, 0),
        jnp.sum(weighted * m, 0),
        jnp.sum(weighted * weighted, 0),
    )


def _join(a: Parts, b: Parts) -> Parts:
    """Both around the centre of the pixels of both."""
    weight = a.weight + b.weight
    share = jnp.where(weight > 0, b.weight / jnp.where(weight > 0, weight, 1.0), 0.0)
    centre = a.centre + (b.centre - a.centre) * share
    moved = [_moved(part, centre) for part in (a, b)]
    return Parts(
        weight,
        a.square_weight + b.square_weight,
        centre,
        *(first + second for first, second in zip(*moved, strict=True)),
    )


def _moved(part: Parts, centre: Array) -> tuple[Array, Array, Array]:
    """The sums of a part around another centre."""
    offset = part.centre - centre
    lean = part.lean + part.square_weight * offset
    return (
        part.first + part.weight * offset,
        lean,
        part.square + (part.lean + lean) * offset,
    )


def _sums_body(x: Ref, *refs: Ref, plan: Plan, regions: int, masked: bool) -> None:
    mask = refs[0] if masked else None
    out = refs[-1]

    def step(tile: Tile, carry: tuple[Parts, ...]) -> tuple[Parts, ...]:
        value, m = tile.load(x), tile.load_mask(mask)
        weights = [m, tile.rest(m)][:regions]
        return tuple(
            _join(held, _tile_sums(value, weight, plan.lanes))
            for held, weight in zip(carry, weights, strict=True)
        )

    nothing = Parts(*[jnp.zeros((plan.lanes,), jnp.float32)] * _KINDS)
    for region, found in enumerate(_each_tile(plan, step, (nothing,) * regions)):
        for kind, value in enumerate(found):
            _put(out, region * _KINDS + kind, value, plan)


def _blend_body(table: Ref, x: Ref, mask: Ref, out: Ref, *, plan: Plan) -> None:
    fg, bg = body.regions([_get(table, k, plan) for k in range(body.BLEND_ROWS)])

    def step(tile: Tile, carry: None) -> None:
        tile.store(out, body.blend(tile.load(x), tile.load_mask(mask), fg, bg))

    _each_tile(plan, step, None)


def _gradient_sums_body(
    table: Ref, grad: Ref, x: Ref, mask: Ref, out: Ref, *, plan: Plan
) -> None:
    count = out.shape[2]
    centres = [_get(table, k, plan) for k in range(count // 2)]

    def step(tile: Tile, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        # Zero where nothing is, and so are all terms there.
        g, value, m = tile.load(grad), tile.load(x), tile.load_mask(mask)
        found = []
        for centre, weight in zip(centres, [m, tile.rest(m)], strict=False):
            weighted = g * weight
            found += [jnp.sum(weighted, 0), jnp.sum(weighted * (value - centre), 0)]
        return tuple(a + b for a, b in zip(carry, found, strict=True))

    nothing = (jnp.zeros((plan.lanes,), jnp.float32),) * count
    for index, value in enumerate(_each_tile(plan, step, nothing)):
        _put(out, index, value, plan)


def _store_mask(ref: Ref, tile: Tile, value: Array) -> None:
    """The sum over the channels at hand."""
    total = jnp.sum(jnp.where(tile.inside, value, 0.0), 1)
    at = ref.at[tile.image, tile.column, tile.pixel]
    pltriton.store(at, total, mask=tile.exists)


def _gradient_body(
    table: Ref, grad: Ref, x: Ref, mask: Ref, *refs: Ref, plan: Plan, patched: bool
) -> None:
    d_x, d_mask = refs[patched:]
    fg, bg = body.regions([_get(table, k, plan) for k in range(body.GRADIENT_ROWS)])
    pull: Any = 0.0
    if patched:
        channel, exists = _channels(plan)
        at = refs[0].at[pl.program_id(0), pl.program_id(1) // plan.strips, channel]
        pull = pltriton.load(at, mask=exists, other=0.0)[None, :]

    def step(tile: Tile, carry: None) -> None:
        g, value, m = tile.load(grad), tile.load(x), tile.load_mask(mask)
        found, dm = body.gradient(g, value, m, fg, bg, pull)
        tile.store(d_x, found)
        _store_mask(d_mask, tile, dm)

    _each_tile(plan, step, None)


def _centred_body(table: Ref, x: Ref, *refs: Ref, plan: Plan, masked: bool) -> None:
    mask = refs[0] if masked else None
    outs = refs[masked:]
    centre, mean, square = (_get(table, k, plan) for k in range(3))

    def step(tile: Tile, carry: None) -> None:
        found, dm = body.centred_gradient(
            tile.load(x), tile.load_mask(mask), centre, mean, square
        )
        tile.store(outs[0], found)
        if masked:
            _store_mask(outs[1], tile, dm)

    _each_tile(plan, step, None)

"""Kernels for GPU through Mosaic GPU (Hopper and later).

A program, one warpgroup, takes a tile of 64 neighboring pixels and up to 64 channels. Where rows of
patches are shorter, a tile has several runs of 16 or 32 pixels, each within one patch. Tiles must be
whole, so `refusal` names the sizes that must be divisible. Every run writes its own sums, and sums of
the mask alone are computed by jax.numpy.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxharm.interfaces import Array
from jaxharm.ops import dispatch, patches
from jaxharm.ops.kernel_calls import (
    Ref,
    Rows,
    call_mosaic_gpu,
    load_mosaic_gpu,
    out_like,
    store_mosaic_gpu,
    unsupported_dtype,
)
from jaxharm.ops.regions import body
from jaxharm.ops.regions.sums import Parts

PIXELS = 64  # of a tile: the rows of a warpgroup's layout
_CHANNELS = 64  # of a tile, at most
_SHORTEST = (
    16  # run of pixels: each run of a tile is summed by itself, in arithmetic over the whole tile
)
# The layout of the tensor cores' results, because in it Mosaic sums along either axis.
_LAYOUT = plgpu.Layout.WGMMA
_PER_PIXEL, _PER_CHANNEL = _LAYOUT.reduce(1), _LAYOUT.reduce(0)


def refusal(*images: Array | None, grid: int = 1) -> str | None:
    """The reason why the kernels cannot take these feature maps and masks, or None."""
    first = images[0]
    assert first is not None
    b, h, w, c = first.shape
    if b * h * w * c >= 2**31:
        return f"a batch of {first.size} numbers needs 64-bit indices"
    if c % 8 or (c > _CHANNELS and c % _CHANNELS):
        return f"Mosaic GPU's tiles take multiples of 8 or of {_CHANNELS} channels, not {c}"
    if h * w % PIXELS:
        return f"{PIXELS} does not divide {h}x{w} pixels"
    if _run(h, w, grid) < _SHORTEST:
        return f"{h}x{w} pixels in {grid}x{grid} patches have rows that {_SHORTEST} does not divide"
    return unsupported_dtype(*images)


def sums(
    x: Array, mask: Array | None, grid: int, *, regions: int, interpret: bool = False
) -> Parts:
    """See `pallas_tpu.sums`."""
    b, h, w, c = x.shape
    m = jnp.ones((b, h, w), jnp.float32) if mask is None else mask.astype(jnp.float32)
    run = _run(h, w, grid)
    m = m.reshape(b, -1, run)
    weights = [m, 1 - m][:regions]
    sizes = jnp.stack([jnp.sum(w, 2) for w in weights], 2)  # [b,runs,regions]
    squares = jnp.stack([jnp.sum(w * w, 2) for w in weights], 2)
    # Two selects, so that no division by 0 takes place; an empty run has center 0.
    inverse = jnp.where(sizes > 0, 1 / jnp.where(sizes > 0, sizes, 1), 0)
    # A row of numbers for each run, so that a program reads its factors as it reads the table.
    factors = jnp.broadcast_to(inverse[..., None], (*inverse.shape, c))
    arrays = [factors, _flat(x), m.reshape(b, -1)]
    runs = sizes.shape[1]
    arrays += _members(run)
    out = _call(
        partial(_sums_body, regions=regions),
        "sums",
        x,
        arrays,
        [out_like((b, runs, 4 * regions, c), jnp.float32, *arrays)],
        interpret,
    )[0]
    found = jnp.moveaxis(out.reshape(b, runs, regions, 4, c), 3, 0)
    every = [sizes[..., None], squares[..., None], *found]
    index = _runs_of_patches(h, w, grid)

    def by_patch(value: Array) -> Array:
        # Patches have different numbers of runs: those without point to an empty one at the end.
        nothing = jnp.zeros_like(value[:, :1])
        return jnp.concatenate([value, nothing], 1)[:, index]

    return Parts(*map(by_patch, every))


def blend(x: Array, mask: Array, table: Array, *, interpret: bool = False) -> Array:
    """See `pallas_tpu.blend`."""
    arrays = [table[:, : body.BLEND_ROWS], _flat(x), _flat_mask(mask)]
    out = [out_like(arrays[1].shape, x.dtype, *arrays)]
    return _call(_blend_body, "blend", x, arrays, out, interpret)[0].reshape(x.shape)


def gradient_sums(
    grad: Array, x: Array, mask: Array, centers: Sequence[Array], *, interpret: bool = False
) -> Array:
    """See `pallas_tpu.gradient_sums`."""
    table = jnp.concatenate(centers, 1)[:, :, 0]
    arrays = [table, _flat(grad), _flat(x), _flat_mask(mask)]
    b, pixels, c = arrays[1].shape
    shape = (b, pixels // PIXELS, 2 * len(centers), c)
    out = [out_like(shape, jnp.float32, *arrays)]
    kernel = partial(_gradient_sums_body, regions=len(centers))
    return jnp.sum(_call(kernel, "gradient_sums", x, arrays, out, interpret)[0], 1)


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
    arrays = [table, _flat(grad), _flat(x), _flat_mask(mask)]
    if patch is not None:
        h, w, grid = *x.shape[1:3], patch.shape[1]
        arrays += [_flat(patch)[:, _patch_of_runs(h, w, grid)], *_members(_run(h, w, grid))]
    out = [out_like(arrays[2].shape, x.dtype, *arrays), _mask_sums(x, arrays)]
    d_x, d_mask = _call(_gradient_body, "gradient", x, arrays, out, interpret)
    return d_x.reshape(x.shape), jnp.sum(d_mask, 1).reshape(mask.shape)


def centered_gradient(
    x: Array, mask: Array | None, rows: Sequence[Array], *, interpret: bool = False
) -> tuple[Array, Array | None]:
    """See `pallas_tpu.centered_gradient`."""
    arrays = [jnp.concatenate(rows, 1)[:, :, 0], _flat(x)]
    out = [out_like(arrays[1].shape, x.dtype, *arrays)]
    if mask is not None:
        arrays.append(_flat_mask(mask))
        out.append(_mask_sums(x, arrays))
    kernel = partial(_centered_body, masked=mask is not None)
    found = _call(kernel, "centered_gradient", x, arrays, out, interpret)
    d_mask = None if mask is None else jnp.sum(found[1], 1).reshape(mask.shape)
    return found[0].reshape(x.shape), d_mask


def _flat(x: Array) -> Array:
    """[b,h,w,c] as [b,pixels,c]."""
    return x.reshape(x.shape[0], -1, x.shape[3])


def _flat_mask(mask: Array) -> Array:
    return mask.reshape(mask.shape[0], -1).astype(jnp.float32)


def _lanes(x: Array) -> int:
    return min(_CHANNELS, x.shape[3])


def _mask_sums(x: Array, arrays: Sequence[Array]) -> jax.ShapeDtypeStruct:
    """The type of the mask's gradient: a sum for each block of channels."""
    b, h, w, c = x.shape
    return out_like((b, c // _lanes(x), h * w), jnp.float32, *arrays)


def _run(height: int, width: int, grid: int) -> int:
    """Pixels in a row of memory that lie in one patch wherever a tile is cut, at most a tile's."""
    row = height * width if grid == 1 else math.gcd(width, width // grid)
    return math.gcd(row, PIXELS)


def _members(run: int) -> list[Array]:
    """f32[runs of a tile,64]: 1 for the pixels of each run; none where a tile is one run."""
    runs = PIXELS // run
    return [jnp.repeat(jnp.eye(runs, dtype=jnp.float32), run, 1)] if runs > 1 else []


def _patch_of_runs(height: int, width: int, grid: int) -> np.ndarray:
    """i32[runs]: the patch of each run, in row-major order."""
    rows, columns = patches.indices(height, grid), patches.indices(width, grid)
    every = (rows[:, None] * grid + columns).reshape(-1)
    return every[:: _run(height, width, grid)]


def _runs_of_patches(height: int, width: int, grid: int) -> np.ndarray:
    """i32[n,patches]: the n-th run of each patch, or the number of runs where there is none."""
    owner = _patch_of_runs(height, width, grid)
    found = [np.flatnonzero(owner == patch) for patch in range(grid * grid)]
    index = np.full((max(map(len, found)), grid * grid), len(owner), np.int32)
    for patch, runs in enumerate(found):
        index[: len(runs), patch] = runs
    return index


class _Tile(NamedTuple):
    """The tile of the running program."""

    image: Array
    number: Array
    column: Array  # block of channels
    lanes: int

    @property
    def pixels(self) -> Rows:
        return pl.ds(self.number * PIXELS, PIXELS)

    @property
    def channels(self) -> Rows:
        return pl.ds(self.column * self.lanes, self.lanes)

    def load(self, ref: Ref) -> Array:
        """Of [b,pixels,c]: f32[64,lanes]."""
        return _load(ref, (self.image, self.pixels, self.channels), _LAYOUT)

    def load_mask(self, ref: Ref) -> Array:
        """Of [b,pixels], spread over the channels: f32[64,lanes]."""
        mask = _load(ref, (self.image, self.pixels), _PER_PIXEL)
        return jax.lax.broadcast_in_dim(mask, (PIXELS, self.lanes), (0,))

    def row(self, ref: Ref, *index: Array | int) -> Array:
        """A row of [b,...,c], spread over the pixels: f32[64,lanes]."""
        return self.spread(_load(ref, (self.image, *index, self.channels), _PER_CHANNEL))

    def spread(self, row: Array) -> Array:
        return jax.lax.broadcast_in_dim(row, (PIXELS, self.lanes), (1,))

    def put(self, ref: Ref, number: Array, index: int, row: Array) -> None:
        """Row `number`, `index` of f32[b,tiles or runs,k,c]."""
        store_mosaic_gpu(ref, (self.image, number, index, self.channels), row)

    def runs(self, members: Sequence[Ref]) -> list[tuple[Array, Array | float]]:
        """The number of each run among all, and 1 for its pixels: f32[64,lanes]."""
        if not members:
            return [(self.number, 1.0)]
        count = members[0].shape[0]
        rows = [_load(members[0], (k, pl.ds(0, PIXELS)), _PER_PIXEL) for k in range(count)]
        return [
            (self.number * count + k, jax.lax.broadcast_in_dim(row, (PIXELS, self.lanes), (0,)))
            for k, row in enumerate(rows)
        ]

    def store(self, ref: Ref, value: Array) -> None:
        at = (self.image, self.pixels, self.channels)
        store_mosaic_gpu(ref, at, value.astype(ref.dtype))

    def store_mask(self, ref: Ref, value: Array) -> None:
        """The sum over the channels at hand, to [b,columns,pixels]."""
        store_mosaic_gpu(ref, (self.image, self.column, self.pixels), jnp.sum(value, 1))


def _load(ref: Ref, index: tuple[object, ...], layout: object) -> Array:
    return load_mosaic_gpu(ref, index, layout).astype(jnp.float32)


def _call(
    kernel: Callable[..., None],
    name: str,
    x: Array,
    arrays: Sequence[Array],
    out: Sequence[jax.ShapeDtypeStruct],
    interpret: bool,
) -> list[Array]:
    lanes = _lanes(x)
    grid = (x.shape[0], x.shape[1] * x.shape[2] // PIXELS, x.shape[3] // lanes)

    def program(*refs: Ref) -> None:
        image, number, column = map(jax.lax.axis_index, ("image", "tile", "column"))
        kernel(_Tile(image, number, column, lanes), *refs)

    program.__name__ = f"region_{name}"
    results = call_mosaic_gpu(
        program,
        interpret=interpret,
        grid=grid,
        grid_names=("image", "tile", "column"),
        out_type=list(out),
    )(*arrays)
    # The results of `plgpu.kernel` have lost the mesh axes over which they vary.
    return list(dispatch.vary_together(*[*arrays, *results])[len(arrays) :])


def _sums_body(tile: _Tile, factors: Ref, x: Ref, mask: Ref, *refs: Ref, regions: int) -> None:
    *members, out = refs
    value, m = tile.load(x), tile.load_mask(mask)
    for number, member in tile.runs(members):
        for region, weight in enumerate([m * member, (1 - m) * member][:regions]):
            inverse = _load(factors, (tile.image, number, region, tile.channels), _PER_CHANNEL)
            center = jnp.sum(value * weight, 0) * inverse
            weighted = (value - tile.spread(center)) * weight
            tile.put(out, number, 4 * region, center)
            tile.put(out, number, 4 * region + 1, jnp.sum(weighted, 0))
            tile.put(out, number, 4 * region + 2, jnp.sum(weighted * weight, 0))
            tile.put(out, number, 4 * region + 3, jnp.sum(weighted * weighted, 0))


def _blend_body(tile: _Tile, table: Ref, x: Ref, mask: Ref, out: Ref) -> None:
    fg, bg = body.regions([tile.row(table, k) for k in range(body.BLEND_ROWS)])
    tile.store(out, body.blend(tile.load(x), tile.load_mask(mask), fg, bg))


def _gradient_sums_body(
    tile: _Tile, table: Ref, grad: Ref, x: Ref, mask: Ref, out: Ref, *, regions: int
) -> None:
    g, value, m = tile.load(grad), tile.load(x), tile.load_mask(mask)
    for region, weight in enumerate([m, 1 - m][:regions]):
        weighted = g * weight
        centered = weighted * (value - tile.row(table, region))
        tile.put(out, tile.number, 2 * region, jnp.sum(weighted, 0))
        tile.put(out, tile.number, 2 * region + 1, jnp.sum(centered, 0))


def _gradient_body(tile: _Tile, table: Ref, grad: Ref, x: Ref, mask: Ref, *refs: Ref) -> None:
    *patch, d_x, d_mask = refs
    fg, bg = body.regions([tile.row(table, k) for k in range(body.GRADIENT_ROWS)])
    patch_term: Array | float = 0.0
    for number, member in tile.runs(patch[1:]) if patch else ():
        patch_term += tile.row(patch[0], number) * member
    found, dm = body.gradient(
        tile.load(grad), tile.load(x), tile.load_mask(mask), fg, bg, patch_term
    )
    tile.store(d_x, found)
    tile.store_mask(d_mask, dm)


def _centered_body(tile: _Tile, table: Ref, x: Ref, *refs: Ref, masked: bool) -> None:
    mask = tile.load_mask(refs[0]) if masked else 1.0
    outs = refs[masked:]
    rows = [tile.row(table, k) for k in range(3)]
    found, dm = body.centered_gradient(tile.load(x), mask, *rows)
    tile.store(outs[0], found)
    if masked:
        tile.store_mask(outs[1], dm)

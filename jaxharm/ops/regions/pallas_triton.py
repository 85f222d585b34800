"""Kernels for GPU through Triton; `triton_tiles` describes how the arrays are cut."""
# Some tiles stay in registers while their means and the sums around these are computed. All this is
# element by element, each thread for itself: threads meet once, at the end of a strip (before, they met
# for every tile, in two thirds of the instructions). Parts are joined as in `sums`. Every program
# writes its own sums, and one reduction adds them: atomics would add in any order, and the bits would
# differ from run to run.

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.ops.kernel_calls import Ref, multiply_add_triton, out_like, unsupported_dtype
from jaxharm.ops.regions import body
from jaxharm.ops.regions.sums import Parts
from jaxharm.ops.regions.triton_tiles import (
    Plan,
    Tile,
    call,
    each_group,
    each_tile,
    flat,
    flat_mask,
    get,
    get_patch,
    mask_sums,
    plan_of_map,
    plan_of_sums,
    plan_of_upstream_sums,
    put,
    strip_sums,
)

_KINDS = len(Parts._fields)


def refusal(*images: Array | None) -> str | None:
    """The reason why the kernels cannot take these feature maps and masks, or None."""
    first = images[0]
    assert first is not None
    if first.size >= 2**31:
        return f"a batch of {first.size} numbers needs 64-bit indices"
    return unsupported_dtype(*images)


def sums(
    x: Array, mask: Array | None, grid: int, *, regions: int, interpret: bool = False
) -> Parts:
    """See `pallas_tpu.sums`."""
    plan = plan_of_sums(x, grid)
    arrays = [flat(x)] if mask is None else [flat(x), flat_mask(mask)]
    out = call(
        partial(
            _sums_body,
            plan=plan,
            regions=regions,
            masked=mask is not None,
            fma=_fma(interpret),
        ),
        "sums",
        plan,
        arrays,
        [strip_sums(plan, regions * _KINDS, arrays)],
        interpret,
    )[0]
    b, c = plan.batch, plan.channels
    split = out.reshape(b, plan.patches**2, plan.strips, regions, _KINDS, c)
    return Parts(*jnp.transpose(split, (4, 0, 2, 1, 3, 5)))


def blend(x: Array, mask: Array, table: Array, *, interpret: bool = False) -> Array:
    """See `pallas_tpu.blend`."""
    plan = plan_of_map(x)
    arrays = [table[:, : body.BLEND_ROWS], flat(x), flat_mask(mask)]
    out = [out_like(arrays[1].shape, x.dtype, *arrays)]
    kernel = partial(_blend_body, plan=plan, fma=_fma(interpret))
    return call(kernel, "blend", plan, arrays, out, interpret)[0].reshape(x.shape)


def gradient_sums(
    grad: Array, x: Array, mask: Array, centers: Sequence[Array], *, interpret: bool = False
) -> Array:
    """See `pallas_tpu.gradient_sums`."""
    plan = plan_of_upstream_sums(x)
    table = jnp.concatenate(centers, 1)[:, :, 0]
    arrays = [table, flat(grad), flat(x), flat_mask(mask)]
    out = [strip_sums(plan, 2 * len(centers), arrays)]
    kernel = partial(_gradient_sums_body, plan=plan, fma=_fma(interpret))
    return jnp.sum(call(kernel, "gradient_sums", plan, arrays, out, interpret)[0], 1)


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
    plan = plan_of_map(x, 1 if patch is None else patch.shape[1])
    arrays = [table, flat(grad), flat(x), flat_mask(mask)]
    if patch is not None:
        arrays.append(flat(patch))
    d_x, d_mask = call(
        partial(_gradient_body, plan=plan, patched=patch is not None, fma=_fma(interpret)),
        "gradient",
        plan,
        arrays,
        [out_like(arrays[2].shape, x.dtype, *arrays), mask_sums(plan, arrays)],
        interpret,
    )
    return d_x.reshape(x.shape), jnp.sum(d_mask, 1).reshape(mask.shape)


def centered_gradient(
    x: Array, mask: Array | None, rows: Sequence[Array], *, interpret: bool = False
) -> tuple[Array, Array | None]:
    """See `pallas_tpu.centered_gradient`."""
    plan = plan_of_map(x)
    arrays = [jnp.concatenate(rows, 1)[:, :, 0], flat(x)]
    if mask is not None:
        arrays.append(flat_mask(mask))
    out = [out_like(arrays[1].shape, x.dtype, *arrays)]
    if mask is not None:
        out.append(mask_sums(plan, arrays))
    kernel = partial(_centered_body, plan=plan, masked=mask is not None, fma=_fma(interpret))
    found = call(kernel, "centered_gradient", plan, arrays, out, interpret)
    d_mask = None if mask is None else jnp.sum(found[1], 1).reshape(mask.shape)
    return found[0].reshape(x.shape), d_mask


def _fma(interpret: bool) -> body.MultiplyAdd:
    return body.multiply_add if interpret else multiply_add_triton


def _group_sums(values: Sequence[Array], weights: Sequence[Array], fma: body.MultiplyAdd) -> Parts:
    """The sums of several tiles f32[pixels,lanes], element by element, around their means."""
    weight: Array = sum(weights[1:], weights[0])
    squares = weights[0] * weights[0]
    total = values[0] * weights[0]
    for value, m in zip(values[1:], weights[1:], strict=True):
        squares, total = fma(m, m, squares), fma(value, m, total)
    # Two selects, so that no division by 0 takes place.
    center = total * jnp.where(weight > 0, 1 / jnp.where(weight > 0, weight, 1.0), 0.0)
    first = cross = square = jnp.zeros_like(center)
    for value, m in zip(values, weights, strict=True):
        weighted = (value - center) * m
        first += weighted
        cross, square = fma(weighted, m, cross), fma(weighted, weighted, square)
    return Parts(weight, squares, center, first, cross, square)


def _join(a: Parts, b: Parts, fma: body.MultiplyAdd) -> Parts:
    """The sums of two parts together, around the mean of all their pixels."""
    weight = a.weight + b.weight
    share = jnp.where(weight > 0, b.weight / jnp.where(weight > 0, weight, 1.0), 0.0)
    center = fma(b.center - a.center, share, a.center)
    moved = [_moved(part, center, fma) for part in (a, b)]
    return Parts(
        weight,
        a.square_weight + b.square_weight,
        center,
        *(first + second for first, second in zip(*moved, strict=True)),
    )


def _moved(part: Parts, center: Array, fma: body.MultiplyAdd) -> tuple[Array, Array, Array]:
    """The sums of a part around another center."""
    offset = part.center - center
    cross = fma(part.square_weight, offset, part.cross)
    return (
        fma(part.weight, offset, part.first),
        cross,
        fma(part.cross + cross, offset, part.square),
    )


def _over_pixels(part: Parts, fma: body.MultiplyAdd) -> Parts:
    """The sums of the elements [pixels,lanes] of a part together: f32[lanes] each."""
    weight = jnp.sum(part.weight)
    share = part.weight * jnp.where(weight > 0, 1 / jnp.where(weight > 0, weight, 1.0), 0.0)
    center = jnp.sum(part.center * share, 0)
    first, cross, square = (jnp.sum(value, 0) for value in _moved(part, center[None, :], fma))
    weights, squares = (
        jnp.full_like(center, total) for total in (weight, jnp.sum(part.square_weight))
    )
    return Parts(weights, squares, center, first, cross, square)


def _sums_body(
    x: Ref, *refs: Ref, plan: Plan, regions: int, masked: bool, fma: body.MultiplyAdd
) -> None:
    mask = refs[0] if masked else None
    out = refs[-1]

    def step(tiles: Sequence[Tile], carry: tuple[Parts, ...]) -> tuple[Parts, ...]:
        values, masks = [tile.load(x) for tile in tiles], [tile.load_mask(mask) for tile in tiles]
        weights = [masks, [tile.rest(m) for tile, m in zip(tiles, masks, strict=True)]]
        return tuple(
            _join(held, _group_sums(values, weights[region], fma), fma)
            for region, held in enumerate(carry)
        )

    nothing, weightless = (jnp.zeros((plan.pixels, n), jnp.float32) for n in (plan.lanes, 1))
    empty = Parts(weightless, weightless, *[nothing] * (_KINDS - 2))
    sums_of_regions = each_group(plan, step, (empty,) * regions)
    for region, found in enumerate(sums_of_regions):
        for kind, value in enumerate(_over_pixels(found, fma)):
            put(out, region * _KINDS + kind, value, plan)


def _blend_body(
    table: Ref, x: Ref, mask: Ref, out: Ref, *, plan: Plan, fma: body.MultiplyAdd
) -> None:
    fg, bg = body.regions([get(table, k, plan) for k in range(body.BLEND_ROWS)])

    def step(tile: Tile, carry: None) -> None:
        tile.store(out, body.blend(tile.load(x), tile.load_mask(mask), fg, bg, fma=fma))

    each_tile(plan, step, None)


def _gradient_sums_body(
    table: Ref, grad: Ref, x: Ref, mask: Ref, out: Ref, *, plan: Plan, fma: body.MultiplyAdd
) -> None:
    count = out.shape[2]
    centers = [get(table, k, plan) for k in range(count // 2)]

    def step(tile: Tile, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        # Loads give zero outside of the patch, and so all terms are zero there.
        g, value, m = tile.load(grad), tile.load(x), tile.load_mask(mask)
        found = list[Array]()
        for region, (center, weight) in enumerate(zip(centers, [m, tile.rest(m)], strict=False)):
            total, product = carry[2 * region : 2 * region + 2]
            weighted = g * weight
            found += [total + weighted, fma(weighted, value - center, product)]
        return tuple(found)

    nothing = (jnp.zeros((plan.pixels, plan.lanes), jnp.float32),) * count
    totals = each_tile(plan, step, nothing)
    for index, value in enumerate(totals):
        put(out, index, jnp.sum(value, 0), plan)


def _gradient_body(
    table: Ref, grad: Ref, x: Ref, mask: Ref, *refs: Ref, plan: Plan, patched: bool,
    fma: body.MultiplyAdd,
) -> None:  # fmt: skip
    d_x, d_mask = refs[patched:]
    fg, bg = body.regions([get(table, k, plan) for k in range(body.GRADIENT_ROWS)])
    patch_term = get_patch(refs[0], plan) if patched else 0.0

    def step(tile: Tile, carry: None) -> None:
        g, value, m = tile.load(grad), tile.load(x), tile.load_mask(mask)
        found, dm = body.gradient(g, value, m, fg, bg, patch_term, fma=fma)
        tile.store(d_x, found)
        tile.store_mask(d_mask, dm)

    each_tile(plan, step, None)


def _centered_body(
    table: Ref, x: Ref, *refs: Ref, plan: Plan, masked: bool, fma: body.MultiplyAdd
) -> None:
    mask = refs[0] if masked else None
    outs = refs[masked:]
    center, mean, square = (get(table, k, plan) for k in range(3))

    def step(tile: Tile, carry: None) -> None:
        value, m = tile.load(x), tile.load_mask(mask)
        found, dm = body.centered_gradient(value, m, center, mean, square, fma=fma)
        tile.store(outs[0], found)
        if masked:
            tile.store_mask(outs[1], dm)

    each_tile(plan, step, None)

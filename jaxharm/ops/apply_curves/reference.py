"""The definition in jax.numpy: curves by look-up, blending, and the gradients of both."""

from functools import partial

import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.ops.platforms import by_platform


def forward(
    image: Array,
    curves: Array,
    mask: Array | None,
    shading: Array | None,
    background: Array | None,
) -> Array:
    """See `api.apply_curves`; arguments are checked."""
    curved = _lookup(image, curves)[0]
    if mask is None or background is None:
        return curved.astype(image.dtype)
    m, bg = _f32(mask), _f32(background)
    result = curved * m + (1 - m) * bg
    if shading is not None:
        result = result * _f32(shading) * m + (1 - m) * bg
    return result.astype(image.dtype)


def backward(arguments: tuple[Array | None, ...], upstream: Array) -> tuple[Array | None, ...]:
    """Gradients with respect to all five arguments (None where the argument is None)."""
    image, curves, mask, shading, background = arguments
    assert image is not None
    assert curves is not None
    g = _f32(upstream)
    curved, slope, interval, weight = _lookup(image, curves)
    d_mask = d_shading = d_background = None
    if mask is not None and background is not None:
        m, bg = _f32(mask), _f32(background)
        d_mask, d_background = jnp.zeros_like(g), jnp.zeros_like(g)
        if shading is not None:
            blended = curved * m + (1 - m) * bg
            s = _f32(shading)
            d_shading = jnp.sum(g * blended * m, -1, keepdims=True).astype(shading.dtype)
            d_mask = g * (blended * s - bg)
            d_background = g * (1 - m)
            g = g * s * m
        d_mask = jnp.sum(d_mask + g * (curved - bg), -1, keepdims=True).astype(mask.dtype)
        d_background = (d_background + g * (1 - m)).astype(background.dtype)
        g = g * m
    d_image = (g * slope).astype(image.dtype)
    d_curves = _bin(g, interval, weight, curves.shape[-1]).astype(curves.dtype)
    return d_image, d_curves, d_mask, d_shading, d_background


def _f32(x: Array) -> Array:
    return x.astype(jnp.float32)


def _lookup(image: Array, curves: Array) -> tuple[Array, Array, Array, Array]:
    """Curve value, slope, interval (i32) and position in the interval of every pixel."""
    knots = curves.shape[2]
    position = jnp.clip(knots * _f32(image) - 0.5, 0, knots - 1)
    # Clipped on both sides because a NaN pixel becomes any integer, and the gathers do not check.
    interval = jnp.clip(position.astype(jnp.int32), 0, knots - 2)
    weight = position - interval
    low, following = _neighbors(_f32(curves), interval)
    rise = following - low
    inside = (position > 0) & (position < knots - 1)
    return low + weight * rise, jnp.where(inside, knots * rise, 0.0), interval, weight


def _neighbors(curves: Array, interval: Array) -> tuple[Array, Array]:
    """The curve's values at both ends of every pixel's interval: f32[b,h,w,3] twice."""
    # Decided when the program is lowered, which may be for another machine. Both give the same bits.
    found: tuple[Array, Array] = by_platform(
        curves, interval, tpu=neighbors_by_selection, default=neighbors_by_gathers
    )
    return found


def neighbors_by_gathers(curves: Array, interval: Array) -> tuple[Array, Array]:
    """`_neighbors` as two gathers from a table of a few kilobytes.

    On CPU that is five times faster than summing hat functions, and XLA fuses it with the blending
    into one pass.
    """
    b, _, knots = curves.shape
    rows = jnp.arange(3 * b, dtype=jnp.int32).reshape(b, 1, 1, 3)
    table, index = curves.reshape(-1), interval + knots * rows
    low = table.at[index].get(mode="promise_in_bounds")
    return low, table.at[index + 1].get(mode="promise_in_bounds")


def neighbors_by_selection(curves: Array, interval: Array) -> tuple[Array, Array]:
    """`_neighbors` as one selection for every knot, since a TPU gathers number by number."""
    values = jnp.moveaxis(curves, 2, 0)[:, :, None, None, :]  # [k,b,1,1,3]
    low = jnp.broadcast_to(values[0], interval.shape)
    following = jnp.broadcast_to(values[1], interval.shape)
    for knot in range(1, curves.shape[2] - 1):
        reached = interval >= knot
        low = jnp.where(reached, values[knot], low)
        following = jnp.where(reached, values[knot + 1], following)
    return low, following


def _bin(g: Array, interval: Array, weight: Array, knots: int) -> Array:
    """Sum of g*(1-weight) at knot `interval` and g*weight at the next: f32[b,3,knots]."""
    # GPUs scatter by atomic additions, in any order, so that no two runs would have the same bits,
    # and TPUs scatter slowly. Decided when the program is lowered, which may be for another machine.
    return by_platform(
        g,
        interval,
        weight,
        cpu=partial(bin_by_scatter, knots=knots),
        tpu=partial(bin_by_knots, knots=knots),
        default=partial(bin_by_sums, knots=knots),
    )


def bin_by_knots(g: Array, interval: Array, weight: Array, *, knots: int) -> Array:
    """`_bin` as one sum over pixels after the other: a TPU's compiler makes one pass of all.

    Of `bin_by_sums` it stores the terms.
    """
    sums = []
    for knot in range(knots):
        share = jnp.where(interval == knot, 1 - weight, 0)
        share += jnp.where(interval + 1 == knot, weight, 0)
        sums.append(jnp.sum(jnp.sum(g * share, axis=2), axis=1))  # row by row, as below
    return jnp.stack(sums, -1)


def bin_by_sums(g: Array, interval: Array, weight: Array, *, knots: int) -> Array:
    """`_bin` as sums over pixels, one for every knot, in an order that the compiler fixes."""
    knot = jnp.arange(knots, dtype=jnp.int32).reshape(1, 1, 1, 1, -1)
    # [b,h,w,3,knots], which is computed inside the sum.
    interval, weight = interval[..., None], weight[..., None]
    share = jnp.where(interval == knot, 1 - weight, 0) + jnp.where(interval + 1 == knot, weight, 0)
    # Row by row, as below: a sum over one row rounds less than one over the whole image.
    rows = jnp.sum(g[..., None] * share, axis=2)
    return jnp.sum(rows, axis=1)


def bin_by_scatter(g: Array, interval: Array, weight: Array, *, knots: int) -> Array:
    """`_bin` as a scatter, which CPUs do in order, and much faster than the sums."""
    # One set of bins per image row, 96 numbers: small in memory, and a float32 sum over one row
    # rounds less than one over the whole image.
    b, h, _, _ = g.shape
    row = (jnp.arange(b * h, dtype=jnp.int32) * 3).reshape(b, h, 1, 1)
    index = interval + knots * (row + jnp.arange(3, dtype=jnp.int32).reshape(1, 1, 1, 3))
    bins = jnp.zeros((b * h * 3 * knots, 2), jnp.float32)
    both = jnp.stack([g * (1 - weight), g * weight], -1)
    bins = bins.at[index].add(both, mode="promise_in_bounds")
    here, following = jnp.moveaxis(bins.reshape(b, h, 3, knots, 2).sum(1), -1, 0)
    return here + jnp.pad(following[..., :-1], ((0, 0), (0, 0), (1, 0)))

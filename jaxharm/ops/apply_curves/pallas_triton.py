"""Kernels for GPU through Triton.

Forward: a block is consecutive numbers of the image as it lies in memory (channel = index mod 3).
Backward: a block is some pixels, since the gradients of mask and shading sum over the channels.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from jaxharm.interfaces import Array
from jaxharm.ops.apply_curves.body import Blend, blend_gradients, hat, position, render, slope
from jaxharm.ops.apply_curves.configs import GPU_BACKWARD, GPU_FORWARD
from jaxharm.ops.kernel_calls import (
    Ref,
    block_sizes,
    call_triton,
    elementwise_inline_asm,
    load_triton,
    out_like,
    store_triton,
    unsupported_dtype,
)

AddHats = Callable[[Array, Array, Array, Array], Array]
_KNOTS = 32  # of the table of hats that is held in registers at a time


def refusal(*arguments: Array | None) -> str | None:
    """The reason why the kernels cannot take these arguments, or None."""
    image = arguments[0]
    assert image is not None
    if image.size >= 2**31:
        return f"an image batch of {image.size} numbers needs 64-bit indices"
    return unsupported_dtype(*arguments)


def forward(*arguments: Array | None, interpret: bool = False) -> Array:
    """See `reference.forward`."""
    image, curves, flat, given = _flat(arguments)
    blocks = block_sizes(GPU_FORWARD)
    numbers = flat[0].shape[1]
    (result,) = call_triton(
        partial(_forward_body, given=given, size=blocks.size, numbers=numbers),
        name="apply_curves_forward",
        warps=blocks.warps,
        interpret=interpret,
        grid=(image.shape[0], pl.cdiv(numbers, blocks.size)),
        out_shape=[out_like(flat[0].shape, image.dtype, curves, *flat)],
    )(curves, *flat)
    return result.reshape(image.shape)


def backward(
    arguments: tuple[Array | None, ...], upstream: Array, interpret: bool = False
) -> tuple[Array | None, ...]:
    """See `reference.backward`."""
    image, curves, flat, given = _flat(arguments)
    blocks = block_sizes(GPU_BACKWARD)
    b, h, w, _ = image.shape
    inputs = [upstream.reshape(b, -1), *flat]
    grid = (b, pl.cdiv(h * w, blocks.size * blocks.tiles))
    # Triton's blocks are powers of two, so the sums have room for whole tables.
    padded = pl.cdiv(curves.shape[2], _KNOTS) * _KNOTS
    *gradients, sums = call_triton(
        partial(
            _backward_body,
            given=given,
            size=blocks.size,
            tiles=blocks.tiles,
            pixels=h * w,
            add_hats=_add_hats if interpret else _add_hats_fused,
        ),
        name="apply_curves_backward",
        warps=blocks.warps,
        interpret=interpret,
        grid=grid,
        out_shape=[
            *(out_like(a.shape, a.dtype, curves, *inputs) for a in flat),
            out_like((*grid, 3, padded), jnp.float32, curves, *inputs),
        ],
    )(curves, *inputs)
    found = dict(zip(given, gradients, strict=True))
    found["curves"] = jnp.sum(sums, 1)[..., : curves.shape[2]]
    return tuple(
        None if a is None else found[name].reshape(a.shape).astype(a.dtype)
        for name, a in zip(_NAMES, arguments, strict=True)
    )


_NAMES = ("image", "curves", "mask", "shading", "background")


def _flat(
    arguments: Sequence[Array | None],
) -> tuple[Array, Array, list[Array], tuple[str, ...]]:
    """Image, curves in float32, all images as [b,numbers], and the names of the latter."""
    image, curves = arguments[:2]
    assert image is not None
    assert curves is not None
    images = {
        name: a.reshape(a.shape[0], -1)
        for name, a in zip(_NAMES, arguments, strict=True)
        if a is not None and name != "curves"
    }
    return image, curves.astype(jnp.float32), list(images.values()), tuple(images)


def _load(ref: Ref, image: Array, index: Array, inside: Array) -> Array:
    return load_triton(ref.at[image, index], mask=inside, other=0.0).astype(jnp.float32)


def _store(ref: Ref, image: Array, index: Array, value: Array, inside: Array) -> None:
    store_triton(ref.at[image, index], value.astype(ref.dtype), mask=inside)


def _look_up(
    x: Array, curves: Ref, image: Array, channel: Array | int
) -> tuple[Array, Array, Array]:
    """Value, rise of the interval and position."""
    knots = curves.shape[-1]
    t = position(x, knots)
    # Two loads from a table that stays in the L1 cache: sums of hats would need more arithmetic
    # than the memory's speed leaves time for.
    # Clipped on both sides because a NaN pixel becomes any integer.
    interval = jnp.clip(t.astype(jnp.int32), 0, knots - 2)
    channels = jnp.broadcast_to(jnp.asarray(channel, jnp.int32), interval.shape)
    low = load_triton(curves.at[image, channels, interval])
    rise = load_triton(curves.at[image, channels, interval + 1]) - low
    return low + (t - interval.astype(jnp.float32)) * rise, rise, t


def _forward_body(curves: Ref, *refs: Ref, given: tuple[str, ...], size: int, numbers: int) -> None:
    *inputs, out = refs
    named = dict(zip(given, inputs, strict=True))
    image = pl.program_id(0)
    # Consecutive threads read consecutive numbers: every access is coalesced.
    at = pl.program_id(1) * size + jnp.arange(size, dtype=jnp.int32)
    pixel, inside = at // 3, at < numbers
    result = _look_up(_load(named["image"], image, at, inside), curves, image, at % 3)[0]
    if "mask" in named:
        shading = named.get("shading")
        result = render(
            result,
            Blend(
                mask=_load(named["mask"], image, pixel, inside),
                background=_load(named["background"], image, at, inside),
                shading=None if shading is None else _load(shading, image, pixel, inside),
            ),
        )
    _store(out, image, at, result, inside)


def _backward_body(
    curves: Ref,
    upstream: Ref,
    *refs: Ref,
    given: tuple[str, ...],
    size: int,
    tiles: int,
    pixels: int,
    add_hats: AddHats,
) -> None:
    count = len(given)
    named = dict(zip(given, refs[:count], strict=True))
    gradients = dict(zip(given, refs[count : 2 * count], strict=True))
    sums = refs[-1]
    tables = sums.shape[-1] // _KNOTS
    image, block = pl.program_id(0), pl.program_id(1)
    knot = jnp.arange(_KNOTS, dtype=jnp.int32)

    def tile(index: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        pixel = (block * tiles + index) * size + jnp.arange(size, dtype=jnp.int32)
        at = image, pixel, pixel < pixels
        channels = _backward_pixels(curves, upstream, named, gradients, at)
        return tuple(
            add_hats(g[:, None], t[:, None], (table * _KNOTS + knot)[None, :], before)
            for (g, t, table), before in zip(
                ((*channel, table) for channel in channels for table in range(tables)),
                carry,
                strict=True,
            )
        )

    nothing = (jnp.zeros((size, _KNOTS), jnp.float32),) * (3 * tables)
    found = jax.lax.fori_loop(np.int32(0), np.int32(tiles), tile, nothing)
    # Each block writes its own sums and one reduction adds them. Atomics would add in any order,
    # and the bits would differ from run to run.
    for index, value in enumerate(found):
        at = (index % tables) * _KNOTS + knot
        store_triton(sums.at[image, block, index // tables, at], jnp.sum(value, 0))


def _backward_pixels(
    curves: Ref,
    upstream: Ref,
    named: Mapping[str, Ref],
    gradients: Mapping[str, Ref],
    place: tuple[Array, Array, Array],
) -> list[tuple[Array, Array]]:
    """Writes the gradients of some pixels.

    Args:
        curves, upstream, named: what is read; `named` are the images that were given.
        gradients: what is written, by the same names.
        place: the image, the pixels, and which of them exist.

    Returns:
        For every channel the gradient of the curved value and the position among the knots.
    """
    image, pixel, inside = place
    knots = curves.shape[-1]
    d_mask = d_shading = jnp.zeros(pixel.shape, jnp.float32)
    mask = shading = None
    if "mask" in named:
        mask = _load(named["mask"], image, pixel, inside)
    if "shading" in named:
        shading = _load(named["shading"], image, pixel, inside)
    channels = []
    for c in range(3):
        at = 3 * pixel + c
        # Zero beyond the image, and so are all gradients there.
        g = _load(upstream, image, at, inside)
        curved, rise, t = _look_up(_load(named["image"], image, at, inside), curves, image, c)
        if mask is not None:
            background = _load(named["background"], image, at, inside)
            d_blend = blend_gradients(g, curved, Blend(mask, background, shading))
            g, d_mask = d_blend.curved, d_mask + d_blend.mask
            _store(gradients["background"], image, at, d_blend.background, inside)
            if d_blend.shading is not None:
                d_shading = d_shading + d_blend.shading
        _store(gradients["image"], image, at, g * slope(t, rise, knots), inside)
        channels.append((g, t))
    if mask is not None:
        _store(gradients["mask"], image, pixel, d_mask, inside)
    if shading is not None:
        _store(gradients["shading"], image, pixel, d_shading, inside)
    return channels


def _add_hats(g: Array, t: Array, knot: Array, before: Array) -> Array:
    return before + g * hat(t, knot.astype(jnp.float32))


# |t - knot| is a modifier of the second subtraction, which saturates to [0,1]; a NaN becomes 0 there,
# which no sum shows: the upstream gradient of a NaN pixel is NaN itself.
_HATS = """{
.reg .f32 d;
sub.rn.f32 d, $2, $3;
abs.f32 d, d;
sub.rn.sat.f32 d, 0f3F800000, d;
fma.rn.f32 $0, $1, d, $4;
}"""


def _add_hats_fused(g: Array, t: Array, knot: Array, before: Array) -> Array:
    """`_add_hats` in three instructions; Triton's own multiplications are never fused with sums."""
    arguments = [jnp.broadcast_to(a.astype(jnp.float32), before.shape) for a in (g, t, knot)]
    (found,) = elementwise_inline_asm(
        _HATS,
        args=[*arguments, before],
        constraints="=f,f,f,f,f",
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(before.shape, jnp.float32)],
    )
    return found

"""Kernels for GPU through Triton: a block is consecutive numbers of the image as it lies in memory.

The border is a condition on the index (zero) or a mirrored index. Three kernels, none of which has
a sum across blocks.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.ops.dynamic_filter.border import Border, border_of
from jaxharm.ops.dynamic_filter.configs import GPU
from jaxharm.ops.kernel_calls import (
    Ref,
    block_sizes,
    call_triton,
    load_triton,
    out_like,
    store_triton,
    unsupported_dtype,
)


class Image(NamedTuple):
    """Sizes of one image, and of the kernels' groups."""

    height: int
    width: int
    channels: int
    groups: int

    def place(self, at: Array) -> tuple[Array, Array, Array]:
        """Row, column and channel of numbers of the image."""
        pixel = at // self.channels
        return pixel // self.width, pixel % self.width, at % self.channels

    def weight(self, row: Array, column: Array, channel: Array, taps: int) -> Array:
        """Index of the first weight of the kernel there."""
        group = channel // (self.channels // self.groups)
        return ((row * self.width + column) * self.groups + group) * taps


def refusal(x: Array, kernels: Array, dilation: int, padding: str) -> str | None:
    """The reason why the kernels cannot take these arguments, or None."""
    border = border_of(kernels, dilation, padding)
    if x.size * border.side**2 >= 2**31:
        return f"kernels for {x.size} numbers need 64-bit indices"
    return border.too_far(x) or unsupported_dtype(x, kernels)


def forward(
    x: Array, kernels: Array, dilation: int, padding: str, interpret: bool = False
) -> Array:
    """See `reference.forward`."""
    border = border_of(kernels, dilation, padding)
    body = partial(_forward_body, border=border, image=_image(x, kernels))
    return _call(body, "forward", (x, kernels), x.shape, 1, x.dtype, interpret).reshape(x.shape)


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
    b, h, w, c = x.shape
    image, taps, shared = _image(x, kernels), border.side**2, c > kernels.shape[3]
    # One kernel per channel, summed over the channels that share it.
    d_kernels = _call(
        partial(_kernels_body, border=border, image=image),
        "d_kernels",
        (x, upstream),
        x.shape,
        taps,
        jnp.float32 if shared else kernels.dtype,
        interpret,
    )
    if shared:
        d_kernels = jnp.sum(d_kernels.reshape(b, h, w, image.groups, -1, taps), -2)
    around = border.reach if border.reflect else 0
    padded = (b, h + 2 * around, w + 2 * around, c)
    d_x = _call(
        partial(_image_body, border=border, image=image, around=around),
        "d_image",
        (upstream, kernels),
        padded,
        1,
        jnp.float32 if border.reflect else x.dtype,
        interpret,
    ).reshape(padded)
    # Mirrored pixels are several times in the padded image: their gradients are added afterwards,
    # in float32. A zero border needs no gradient, so the kernel skips it.
    d_x = border.fold(d_x) if border.reflect else d_x
    return d_x.astype(x.dtype), d_kernels.reshape(kernels.shape).astype(kernels.dtype)


def _image(x: Array, kernels: Array) -> Image:
    _, height, width, channels = x.shape
    return Image(height, width, channels, kernels.shape[3])


def _call(
    body: Callable[..., None],
    name: str,
    arguments: tuple[Array, ...],
    over: tuple[int, ...],
    taps: int,
    dtype: DTypeLike,
    interpret: bool,
) -> Array:
    """Runs a body for every number of images of shape `over`; it writes `taps` results for each."""
    # Neighboring threads take neighboring channels, so that pixels are read in whole sectors; the
    # K*K weights of a thread are adjacent, and the cache serves all but the first.
    batch, numbers = over[0], math.prod(over[1:])
    blocks = block_sizes(GPU)
    (result,) = call_triton(
        partial(body, size=blocks.size, numbers=numbers),
        name=f"dynamic_filter_{name}",
        warps=blocks.warps,
        interpret=interpret,
        grid=(batch, pl.cdiv(numbers, blocks.size)),
        out_shape=[out_like((batch, numbers * taps), dtype, *arguments)],
    )(*(a.reshape(batch, -1) for a in arguments))
    return result


def _at(size: int, numbers: int) -> tuple[Array, Array, Array]:
    """The image, the numbers of this block, and which of them exist."""
    at = pl.program_id(1) * size + jnp.arange(size, dtype=jnp.int32)
    return pl.program_id(0), at, at < numbers


def _load(ref: Ref, n: Array, at: Array, inside: Array) -> Array:
    return load_triton(ref.at[n, at], mask=inside, other=0.0).astype(jnp.float32)


def _store(ref: Ref, n: Array, at: Array, value: Array, inside: Array) -> None:
    store_triton(ref.at[n, at], value.astype(ref.dtype), mask=inside)


def _mirror(index: Array, size: int) -> Array:
    index = jnp.abs(index)
    return jnp.where(index >= size, 2 * (size - 1) - index, index)


def _tap_value(
    x: Ref, n: Array, place: tuple[Array, Array, Array], down: int, right: int, inside: Array,
    border: Border, image: Image,
) -> Array:  # fmt: skip
    """The image under a tap, border included."""
    row, column, channel = place
    row, column = row + (down - border.reach), column + (right - border.reach)
    if border.reflect:
        row, column = _mirror(row, image.height), _mirror(column, image.width)
    else:
        inside &= (row >= 0) & (row < image.height) & (column >= 0) & (column < image.width)
    return _load(x, n, (row * image.width + column) * image.channels + channel, inside)


def _forward_body(
    x: Ref, kernels: Ref, out: Ref, *, border: Border, image: Image, size: int, numbers: int
) -> None:
    n, at, inside = _at(size, numbers)
    place = image.place(at)
    weight = image.weight(*place, border.side**2)
    total = jnp.zeros((size,), jnp.float32)
    for tap, down, right in border.taps():
        value = _tap_value(x, n, place, down, right, inside, border, image)
        total += value * _load(kernels, n, weight + tap, inside)
    _store(out, n, at, total, inside)


def _kernels_body(
    x: Ref, upstream: Ref, d_kernels: Ref, *, border: Border, image: Image, size: int, numbers: int
) -> None:
    n, at, inside = _at(size, numbers)
    place = image.place(at)
    g = _load(upstream, n, at, inside)
    for tap, down, right in border.taps():
        value = _tap_value(x, n, place, down, right, inside, border, image)
        _store(d_kernels, n, at * border.side**2 + tap, g * value, inside)


def _image_body(
    upstream: Ref, kernels: Ref, d_x: Ref, *, border: Border, image: Image, around: int, size: int,
    numbers: int,
) -> None:  # fmt: skip
    """Each pixel (of an image with `around` pixels more on each side) sums over the taps that read it."""
    # A gather: scattering from the taps to the pixels would need atomics, whose order changes bits.
    n, at, inside = _at(size, numbers)
    row, column, channel = image._replace(width=image.width + 2 * around).place(at)
    total = jnp.zeros((size,), jnp.float32)
    for tap, down, right in border.taps():
        y, x = row - around + border.reach - down, column - around + border.reach - right
        valid = inside & (y >= 0) & (y < image.height) & (x >= 0) & (x < image.width)
        g = _load(upstream, n, (y * image.width + x) * image.channels + channel, valid)
        weight = image.weight(y, x, channel, border.side**2) + tap
        total += g * _load(kernels, n, weight, valid)
    _store(d_x, n, at, total, inside)

"""The kernels' taps, and what lies around the image."""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp

from jaxharm.types import Array


class Border(NamedTuple):
    """A kernel of side*side taps, `dilation` pixels apart, over a zero or mirrored border."""

    side: int
    dilation: int
    reflect: bool

    @property
    def reach(self) -> int:
        """How far a tap lies from the pixel at most."""
        return (self.side - 1) // 2 * self.dilation

    def taps(self) -> Iterator[tuple[int, int, int]]:
        """(number of the tap, row, column), the latter in the padded image."""
        for u in range(self.side):
            for v in range(self.side):
                yield u * self.side + v, u * self.dilation, v * self.dilation

    def pad(self, x: Array, more_rows: int = 0) -> Array:
        """[b,h,w,c] with the border around it, and zero rows below."""
        reach = self.reach
        around = ((0, 0), (reach, reach), (reach, reach), (0, 0))
        x = jnp.pad(x, around, mode="reflect") if self.reflect else jnp.pad(x, around)
        return jnp.pad(x, ((0, 0), (0, more_rows), (0, 0), (0, 0))) if more_rows else x

    def fold(self, padded: Array) -> Array:
        """The gradient of `pad` (without more rows), given that of its result."""
        reach = self.reach
        for axis in (1, 2):
            size = padded.shape[axis] - 2 * reach
            inner = _cut(padded, axis, reach, reach + size)
            if self.reflect and reach:
                before = _cut(padded, axis, 0, reach)
                after = _cut(padded, axis, reach + size, size + 2 * reach)
                inner = inner + _placed(jnp.flip(before, axis), axis, 1, size)
                inner = inner + _placed(jnp.flip(after, axis), axis, size - 1 - reach, size)
            padded = inner
        return padded


def _cut(x: Array, axis: int, start: int, stop: int) -> Array:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _placed(x: Array, axis: int, start: int, size: int) -> Array:
    """`x` at `start` of an axis of `size` zeros."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (start, size - start - x.shape[axis])
    return jnp.pad(x, widths)

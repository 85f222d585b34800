"""The taps of a kernel, and the border around the image that they reach into."""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp

from jaxharm.interfaces import Array


class Border(NamedTuple):
    """A kernel of side*side taps, `dilation` pixels apart, over a zero or mirrored border."""

    side: int
    dilation: int
    reflect: bool

    @property
    def reach(self) -> int:
        """The largest distance of a tap from its pixel, per axis."""
        return (self.side - 1) // 2 * self.dilation

    def taps(self) -> Iterator[tuple[int, int, int]]:
        """(number of the tap, row, column), the latter in the padded image."""
        for u in range(self.side):
            for v in range(self.side):
                yield u * self.side + v, u * self.dilation, v * self.dilation

    def pad(self, x: Array, more_rows: int = 0) -> Array:
        """[b,h,w,c] with the border around it, and zero rows below."""
        reach, mode = self.reach, "reflect" if self.reflect else "constant"
        x = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode=mode)
        return jnp.pad(x, ((0, 0), (0, more_rows), (0, 0), (0, 0))) if more_rows else x

    def fold(self, padded: Array) -> Array:
        """The gradient of `pad` (without more rows), given that of its result."""
        # Written out, since `jax.linear_transpose` fails on values that vary over a mesh.
        for axis in (1, 2):
            size = padded.shape[axis] - 2 * self.reach
            inner = _cut(padded, axis, self.reach, self.reach + size)
            if self.reflect and self.reach:
                before = _cut(padded, axis, 0, self.reach)
                after = _cut(padded, axis, self.reach + size, size + 2 * self.reach)
                inner += _placed(jnp.flip(before, axis), axis, 1, size)
                inner += _placed(jnp.flip(after, axis), axis, size - 1 - self.reach, size)
            padded = inner
        return padded

    def too_far(self, x: Array) -> str | None:
        """The reason why kernels that mirror only once cannot take images of this size, or None."""
        if self.reflect and self.reach >= min(x.shape[1:3]):
            return (
                f"the mirror image of {self.reach} pixels is larger than {x.shape[1]}x{x.shape[2]}"
            )
        return None


def border_of(kernels: Array, dilation: int, padding: str) -> Border:
    """The border that kernels [b,h,w,g,K,K] need."""
    return Border(kernels.shape[-1], dilation, padding == "reflect")


def _cut(x: Array, axis: int, start: int, stop: int) -> Array:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _placed(x: Array, axis: int, start: int, size: int) -> Array:
    """`x` at `start` of an axis of `size` zeros."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (start, size - start - x.shape[axis])
    return jnp.pad(x, widths)

"""Sums and means over the whole batch, on one device or many."""

import jax

from jaxharm.interfaces import Array

# (numerator, denominator) of a mean, over this device's samples.
Ratio = tuple[Array, Array]


def reduce_sum(value: Array, axis_name: str | None) -> Array:
    """Sum over the devices of `axis_name`; `value` itself where it is None."""
    return value if axis_name is None else jax.lax.psum(value, axis_name)


def reduce_ratio(ratio: Ratio, axis_name: str | None) -> Ratio:
    """Numerator and denominator summed over the devices: never a mean of means."""
    return reduce_sum(ratio[0], axis_name), reduce_sum(ratio[1], axis_name)

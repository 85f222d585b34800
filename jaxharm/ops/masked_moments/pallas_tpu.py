"""The TPU kernels of this operation."""

from functools import partial

from jaxharm.interfaces import Array
from jaxharm.ops.masked_moments import kernels
from jaxharm.ops.regions import pallas_tpu

forward = partial(kernels.forward, pallas_tpu)
backward = partial(kernels.backward, pallas_tpu)


def refusal(x: Array, mask: Array, eps: float) -> str | None:
    """The reason why the kernels cannot take these arguments, or None."""
    del eps
    return pallas_tpu.refusal(x, mask)

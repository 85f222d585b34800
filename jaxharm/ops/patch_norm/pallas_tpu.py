"""The TPU kernels of this operation."""

from functools import partial

from jaxharm.interfaces import Array
from jaxharm.ops.patch_norm import kernels
from jaxharm.ops.regions import pallas_tpu

forward = partial(kernels.forward, pallas_tpu)
backward = partial(kernels.backward, pallas_tpu)


def refusal(x: Array, mask: Array, *rest: object) -> str | None:
    """The reason why the kernels cannot take these arguments, or None."""
    del rest
    return pallas_tpu.refusal(x, mask)

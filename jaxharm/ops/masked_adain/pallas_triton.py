"""The GPU kernels of this operation through Triton."""

from functools import partial

from jaxharm.interfaces import Array
from jaxharm.ops.masked_adain import kernels
from jaxharm.ops.regions import pallas_triton

forward = partial(kernels.forward, pallas_triton)
backward = partial(kernels.backward, pallas_triton)


def refusal(
    content: Array, style: Array, mask: Array, style_mask: Array | None, eps: float
) -> str | None:
    """The reason why the kernels cannot take these arguments, or None."""
    del eps
    return pallas_triton.refusal(content, style, mask, style_mask)

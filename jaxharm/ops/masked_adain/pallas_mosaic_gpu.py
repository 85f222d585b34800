"""The GPU kernels of this operation through Mosaic GPU."""

from functools import partial

from jaxharm.interfaces import Array
from jaxharm.ops.masked_adain import kernels
from jaxharm.ops.regions import pallas_mosaic_gpu

forward = partial(kernels.forward, pallas_mosaic_gpu)
backward = partial(kernels.backward, pallas_mosaic_gpu)


def refusal(
    content: Array, style: Array, mask: Array, style_mask: Array | None, eps: float
) -> str | None:
    """The reason why the kernels cannot take these arguments, or None."""
    del eps
    return pallas_mosaic_gpu.refusal(content, style, mask, style_mask)

"""For GPU through Mosaic GPU: `kernels` with those of `regions.pallas_mosaic_gpu`."""

from functools import partial
from typing import Any

from jaxharm.interfaces import Array
from jaxharm.ops.patch_norm import kernels
from jaxharm.ops.regions import pallas_mosaic_gpu

forward = partial(kernels.forward, pallas_mosaic_gpu)
backward = partial(kernels.backward, pallas_mosaic_gpu)


def refusal(x: Array, mask: Array, params: Any, grid: int) -> str | None:
    """Why the kernels cannot take these arguments, or None."""
    del params
    return pallas_mosaic_gpu.refusal(x, mask, grid=grid)

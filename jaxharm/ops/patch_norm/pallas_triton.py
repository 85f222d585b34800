"""For GPU: `kernels` with those of `regions.pallas_triton`."""

from functools import partial
from typing import Any

from jaxharm.interfaces import Array
from jaxharm.ops.patch_norm import kernels
from jaxharm.ops.regions import pallas_triton

forward = partial(kernels.forward, pallas_triton)
backward = partial(kernels.backward, pallas_triton)


def refusal(x: Array, mask: Array, *rest: Any) -> str | None:
    """Why the kernels cannot take these arguments, or None."""
    del rest
    return pallas_triton.refusal(x, mask)

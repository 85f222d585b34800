"""For TPU: `kernels` with those of `regions.pallas_tpu`."""

from functools import partial
from typing import Any

from jaxharm.interfaces import Array
from jaxharm.ops.patch_norm import kernels
from jaxharm.ops.regions import pallas_tpu

forward = partial(kernels.forward, pallas_tpu)
backward = partial(kernels.backward, pallas_tpu)


def refusal(x: Array, mask: Array, *rest: Any) -> str | None:
    """Why the kernels cannot take these arguments, or None."""
    del rest
    return pallas_tpu.refusal(x, mask)

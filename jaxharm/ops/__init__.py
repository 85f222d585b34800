"""Pure functions on arrays that may have kernels for GPU and TPU.

Each takes `implementation` (see `dispatch`). `conv.py` and `patches.py` are parts of several of them.
"""

from jaxharm.ops.apply_curves import apply_curves
from jaxharm.ops.dynamic_filter import dynamic_filter
from jaxharm.ops.masked_adain.api import masked_adain
from jaxharm.ops.masked_moments.api import masked_moments
from jaxharm.ops.modulated_conv import modulated_conv
from jaxharm.ops.patch_norm.api import patch_norm

__all__ = [
    "apply_curves",
    "dynamic_filter",
    "masked_adain",
    "masked_moments",
    "modulated_conv",
    "patch_norm",
]

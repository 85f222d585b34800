"""Pure functions that may have kernels; each takes `implementation` (see `dispatch`)."""

from jaxharm.ops.apply_curves import apply_curves

__all__ = ["apply_curves"]

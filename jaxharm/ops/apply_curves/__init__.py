"""Per-channel piecewise-linear curves, alone or with the whole rendering of PIH."""

from jaxharm.ops.apply_curves.api import apply_curves

__all__ = ["apply_curves"]

"""Piecewise-linear curves per channel, alone or with blending and shading in the same pass."""

from jaxharm.ops.apply_curves.api import apply_curves

__all__ = ["apply_curves"]

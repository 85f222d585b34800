"""Filtering with a kernel of its own at every pixel (GKNet)."""

from jaxharm.ops.dynamic_filter.api import dynamic_filter

__all__ = ["dynamic_filter"]

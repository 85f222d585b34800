"""Filtering with a different kernel at every pixel."""

from jaxharm.ops.dynamic_filter.api import dynamic_filter

__all__ = ["dynamic_filter"]

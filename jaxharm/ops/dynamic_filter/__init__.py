"""Filtering with a kernel of its own for every pixel."""

from jaxharm.ops.dynamic_filter.api import dynamic_filter

__all__ = ["dynamic_filter"]

"""Patch-based normalization: the foreground gets the background's statistics."""

from jaxharm.ops.patch_norm.api import patch_norm

__all__ = ["patch_norm"]

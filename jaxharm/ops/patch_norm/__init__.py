"""Patch-based normalization of PHNet."""

from jaxharm.ops.patch_norm.api import patch_norm

__all__ = ["patch_norm"]

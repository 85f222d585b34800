"""Convolution whose kernel is scaled per image by a style."""

from jaxharm.ops.modulated_conv.api import modulated_conv

__all__ = ["modulated_conv"]

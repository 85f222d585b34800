"""Gives the masked part of a feature map the mean and deviation of another feature map."""

from jaxharm.ops.masked_adain.api import masked_adain

__all__ = ["masked_adain"]

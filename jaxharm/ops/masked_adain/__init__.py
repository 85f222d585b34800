"""Gives the masked part of a feature map the mean and standard deviation of another one."""

from jaxharm.ops.masked_adain.api import masked_adain

__all__ = ["masked_adain"]

"""Mean and standard deviation of the masked part of a feature map."""

from jaxharm.ops.masked_moments.api import masked_moments

__all__ = ["masked_moments"]

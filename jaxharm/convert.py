"""Official checkpoints -> our variables."""

from jaxharm.weights.name_map import from_torch

__all__ = ["from_torch"]

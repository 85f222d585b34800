"""Official checkpoints -> our variables."""

from jaxharm.convert.name_map import from_torch

__all__ = ["from_torch"]

"""Official checkpoints -> our variables, and back."""

from jaxharm.weights.name_map import from_torch, recognized, to_torch

__all__ = ["from_torch", "recognized", "to_torch"]

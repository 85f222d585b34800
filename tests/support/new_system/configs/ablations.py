"""Overlays of the tinter."""

from dataclasses import replace

from jaxharm.config import Overlay, TrainConfig


def strong(config: TrainConfig) -> TrainConfig:
    """Twice the color."""
    return replace(config, model=replace(config.model, gain=2.0))


OVERLAYS: dict[str, Overlay] = {"strong": strong}

"""Overlays that fit every config; a paper's own ones are in `<model>/ablations.py`."""

from dataclasses import replace

from jaxharm.config import Overlay, TrainConfig


def smoke(config: TrainConfig) -> TrainConfig:
    """Ten steps of a tiny model on 64x64 images: does the machine run it at all?"""
    return replace(
        config,
        model=type(config.model).tiny(),
        steps=10,
        epochs=None,
        data=replace(config.data, image_size=64, batch_size=8, num_workers=0),
        eval=replace(config.eval, every=0, batch_size=8),
        checkpoint=replace(config.checkpoint, every=5),
        log=replace(config.log, every=1, images_every=5),
    )


OVERLAYS: dict[str, Overlay] = {"smoke": smoke}

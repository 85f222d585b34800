"""Overlays of iSSAM and of models that are built on it: HAdobe5k at larger sizes, test-time flip."""

from dataclasses import replace

from jaxharm.config import Overlay, TrainConfig


def _hadobe5k(side: int) -> Overlay:
    """HAdobe5k alone, trained and evaluated at this side.

    Batch and rate stay those of the config, whose devices or `accumulate` must then hold it.
    """
    # Sides of at most 1024 pixels are stored for the smaller size; the larger one needs all of them.
    name = "iharmony4/hadobe5k" if side > 512 else "iharmony4/hadobe5k_1024"

    def overlay(config: TrainConfig) -> TrainConfig:
        return replace(
            config,
            model=replace(config.model, trained_size=side),
            data=replace(config.data, name=name, image_size=side),
            eval=replace(config.eval, data=name, protocol=f"issam_{side}"),
        )

    return overlay


def _flip_average(config: TrainConfig) -> TrainConfig:
    return replace(config, model=replace(config.model, flip_average=True))


OVERLAYS: dict[str, Overlay] = {
    "hadobe5k_512": _hadobe5k(512),
    "hadobe5k_1024": _hadobe5k(1024),
    # Training is the same; the prediction is the mean over the image and its mirror image.
    "flip_average": _flip_average,
}

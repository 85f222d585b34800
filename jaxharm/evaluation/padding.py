"""Lets a network that needs a multiple of pixels take images of any size."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxharm import registry
from jaxharm.errors import InputError
from jaxharm.interfaces import ModelConfig, Output
from jaxharm.schema import Batch, HostArray, HostBatch

_BUCKET = 32  # odd sizes are padded to multiples of this too: few shapes, few compilations


def padded_predict(
    predict: Callable[[HostBatch], Output], model: ModelConfig
) -> Callable[[HostBatch], Output]:
    """`predict` on images padded by reflection and cut back, where their size does not fit.

    Args:
        predict: host batch -> Output whose image has the batch's size.
        model: the model's Config; `size_multiple` and `min_size` are read.
    """

    def call(batch: HostBatch) -> Output:
        image: Any = _padded(lambda given: {"image": predict(given).image}, batch, model)["image"]
        return Output(image=image)

    return call


def padded_figures(
    figures: Callable[[HostBatch], Mapping[str, HostArray]], model: ModelConfig
) -> Callable[[HostBatch], dict[str, HostArray]]:
    """The same for `System.figures`: name -> array of the batch's size.

    The result raises InputError where the system has no figures.
    """

    def call(batch: HostBatch) -> dict[str, HostArray]:
        found = _padded(figures, batch, model)
        if not found:
            raise InputError(
                "this system has no figures that explain a prediction; leave --maps out"
            )
        return found

    return call


def _padded(
    function: Callable[[HostBatch], Mapping[str, Any]], batch: HostBatch, model: ModelConfig
) -> dict[str, Any]:
    height, width = batch.composite.shape[1:3]
    wanted = [_fit(n, model.size_multiple, model.min_size) for n in (height, width)]
    if wanted == [height, width]:
        return dict(function(batch))
    border = ((0, 0), (0, wanted[0] - height), (0, wanted[1] - width), (0, 0))
    padded = batch.map_images(lambda image: np.pad(image, border, mode="symmetric"))
    return {name: value[:, :height, :width] for name, value in function(padded).items()}


def example_batch(name: str, model: ModelConfig) -> HostBatch:
    """A batch of one blank image of the model's own size, which tells the shapes to a restore.

    Args:
        name: registry name of the system.
        model: its Config; `default_size` is read.
    """
    image = np.zeros((1, model.default_size, model.default_size, 3), np.uint8)
    mask = np.zeros((*image.shape[:3], 1), np.float32)
    background = image if registry.get(name).needs_background else None
    return Batch(image, mask, image, background, index=np.zeros(1, np.int32))


def _fit(side: int, multiple: int, minimum: int) -> int:
    if side % multiple == 0 and side >= minimum:
        return side
    step = math.lcm(multiple, _BUCKET)
    return math.ceil(max(side, minimum) / step) * step

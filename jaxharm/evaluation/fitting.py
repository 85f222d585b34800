"""Brings evaluation batches to sizes that a network takes: for figures, and to tell shapes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from jaxharm import registry
from jaxharm.images.resize import shrink
from jaxharm.inference.loading import runner_class
from jaxharm.interfaces import ModelConfig
from jaxharm.schema import Batch, HostArray, HostBatch

_BUCKET = 32  # odd sizes are padded to multiples of this too: few shapes, few compilations
Figures = Callable[[HostBatch], Mapping[str, HostArray]]


def fitted_figures(
    figures: Figures, name: str, model: ModelConfig
) -> Callable[[HostBatch], dict[str, HostArray]]:
    """`System.figures` for images of any size.

    A parametric model is shown them at its own size, as in a prediction; what it gives is resized.
    For any other one they are padded by reflection and cut back, where their size does not fit.

    Args:
        figures: host batch -> name -> array of the batch's size.
        name: registry name of the deployed model.
        model: its Config; `default_size`, `size_multiple` and `min_size` are read.

    """
    fit = _resized if runner_class(registry.get(name)).parametric else _padded
    return lambda batch: fit(figures, batch, model)


def _resized(figures: Figures, batch: HostBatch, model: ModelConfig) -> dict[str, HostArray]:
    height, width = batch.composite.shape[1:3]
    side = model.default_size

    def small(images: Any) -> HostArray:
        planes = images[..., 0] if images.shape[-1] == 1 else images
        resized = np.stack([shrink(image, (side, side)) for image in planes])
        return resized.reshape(*resized.shape[:3], -1)

    def large(images: HostArray) -> HostArray:
        resized = [cv2.resize(i, (width, height), interpolation=cv2.INTER_LINEAR) for i in images]
        # OpenCV drops the axis of a single channel.
        return np.stack(resized).reshape(len(images), height, width, -1)

    return {name: large(value) for name, value in figures(batch.map_images(small)).items()}


def _padded(figures: Figures, batch: HostBatch, model: ModelConfig) -> dict[str, HostArray]:
    height, width = batch.composite.shape[1:3]
    wanted = [_fit(n, model.size_multiple, model.min_size) for n in (height, width)]
    if wanted == [height, width]:
        return dict(figures(batch))
    border = ((0, 0), (0, wanted[0] - height), (0, wanted[1] - width), (0, 0))
    padded = batch.map_images(lambda image: np.pad(image, border, mode="symmetric"))
    return {name: value[:, :height, :width] for name, value in figures(padded).items()}


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

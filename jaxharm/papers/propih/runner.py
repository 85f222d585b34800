"""ProPIH on images of any size: which stage's result, pasted on the painting at full size.

The composite is first pasted anew: the painting wherever the mask is 0, whatever the composite
holds there. Up to `NATIVE_PIXELS` the network sees the picture as it is, mirrored at the bottom and
at the right to a multiple of 8 (docs/papers/propih.md, "Inference"); beyond, or where a size is
given, it sees a smaller picture, and what it paints is enlarged.
"""

import math
import warnings
from typing import NamedTuple

import cv2
import numpy as np
from flax import linen as nn

from jaxharm.images.bit_depth import from_unit
from jaxharm.images.resize import shrink
from jaxharm.images.spaces import to_srgb
from jaxharm.inference.runner import BaseRunner, check_least_size
from jaxharm.interfaces import Inputs, Params, RunnerSettings
from jaxharm.papers.propih.early_exit import StageRunner, check_exit
from jaxharm.papers.propih.model import ProPIH
from jaxharm.papers.propih.restyle import Restyle, Rounding

NATIVE_PIXELS = 1536 * 1536  # memory grows with them: docs/papers/propih.md, "Inference"


class Seen(NamedTuple):
    """What the network sees, f32[1,h,w,c] each in [0,1], and its size without the mirrored border."""

    composite: np.ndarray
    mask: np.ndarray
    painting: np.ndarray
    size: tuple[int, int]


class ProPIHRunner(BaseRunner[Restyle, Seen, np.ndarray]):
    """A prediction is f32[n,h,w,3] in the [0,1] scale: what the chosen stages paint, unblended.

    Attributes:
        stages: runs the network stage by stage.
    """

    Options = Restyle
    background_role = "the painting that the object is pasted on"

    def __init__(self, model: nn.Module, variables: Params, settings: RunnerSettings) -> None:
        """Puts the weights on the device, where they stay."""
        super().__init__(model, variables, settings)
        assert isinstance(model, ProPIH)  # the registry pairs them
        self.config = model.config
        self.stages = StageRunner(model, self._variables)

    def check(self, options: Restyle) -> None:
        """InputError where the exit head is to choose the stage and the weights have none."""
        check_exit(self.config, options.mode, options.number, options.exit_threshold)

    def as_is(self, height: int, width: int) -> bool:
        """See `jaxharm.interfaces.Runner`."""
        multiple, side = self.config.size_multiple, self.settings.size
        native = height * width <= NATIVE_PIXELS if side is None else height == width == side
        return native and height % multiple == width % multiple == 0

    def _prepare(self, inputs: Inputs, options: Restyle) -> Seen:
        layers, side, config = (
            paste_layers(inputs, options.rounding),
            self.settings.size,
            self.config,
        )
        height, width = inputs.mask.shape
        if side is None:
            check_least_size(inputs, config.min_size)
        seen = (side, side) if side else _seen_size(height, width)
        arrays: tuple[np.ndarray, ...] = (layers.pasted, layers.mask, layers.painting)
        if seen != (height, width):
            small = (layers.pasted, layers.mask[..., 0], layers.painting)
            # Pillow's filter overshoots by a rounding at 0 and 1.
            arrays = tuple(np.clip(shrink(array, seen), 0, 1) for array in small)
        composite, mask, painting = (
            mirrored(array.reshape(1, *seen, -1), config.size_multiple) for array in arrays
        )
        return Seen(composite, mask, painting, seen)

    def _predict(self, prepared: Seen, options: Restyle) -> np.ndarray:
        result = self.stages(
            *prepared[:3],
            mode=options.mode,
            stage=options.number,
            threshold=options.exit_threshold,
        )
        # One image: the stages are the first axis of `coarses`, images that of `coarse`.
        painted = result.coarse if result.coarses is None else result.coarses[:, 0]
        height, width = prepared.size
        return painted[:, :height, :width]

    def _apply(
        self, inputs: Inputs, prediction: np.ndarray, strength: float, options: Restyle
    ) -> np.ndarray:
        # Made anew instead of kept since `_prepare`: three float images would wait in memory while
        # the network runs, which needs the most of it.
        layers = paste_layers(inputs, options.rounding)
        height, width = inputs.mask.shape
        images = []
        for coarse in prediction:
            if coarse.shape[:2] != (height, width):
                coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
            images.append(_blended(coarse, layers, inputs, strength, options.rounding))
        return np.stack(images) if options.stage == "all" else images[0]


def strip(inputs: Inputs, stages: np.ndarray, rounding: Rounding = "nearest") -> np.ndarray:
    """The official picture of a result: composite pasted anew, mask, painting, the stages.

    Args:
        inputs: with the painting as background.
        stages: [4,h,w,3], the results of every stage.
        rounding: as in `Restyle`.

    Returns:
        [h,7w,3] in the composite's dtype.
    """
    layers = paste_layers(inputs, rounding)
    shown = (layers.pasted, np.repeat(layers.mask, 3, 2), layers.painting)
    panels = [_stored(panel, inputs, rounding) for panel in shown]
    return np.concatenate([*panels, *stages], 1)


class Layers(NamedTuple):
    """f32 in [0,1]: the painting and the composite pasted on it [h,w,3], the mask [h,w,1]."""

    painting: np.ndarray
    mask: np.ndarray
    pasted: np.ndarray


def paste_layers(inputs: Inputs, rounding: Rounding = "nearest") -> Layers:
    """The layers of a picture whose background is the painting; `rounding` as in `Restyle`."""
    assert inputs.background is not None  # `prepare` refuses images without a painting
    painting, composite = (
        to_srgb(image, inputs.space) for image in (inputs.background, inputs.composite)
    )
    mask = inputs.mask[..., None]
    if rounding == "trunc":
        # Officially all three go to [-1,1] and back first; that moves last bits, and truncation
        # shows them.
        painting, mask, composite = ((_inside(a) + 1) / 2 for a in (painting, mask, composite))
    return Layers(painting, mask, composite * mask + painting * (1 - mask))


def mirrored(images: np.ndarray, multiple: int) -> np.ndarray:
    """f32[n,h,w,c] mirrored at the bottom and at the right, to sides that are multiples."""
    border = [(0, -n % multiple) for n in images.shape[1:3]]
    return np.pad(images, [(0, 0), *border, (0, 0)], mode="reflect")


def _seen_size(height: int, width: int) -> tuple[int, int]:
    """The size that the network sees: the image's, unless that is too large."""
    if height * width <= NATIVE_PIXELS:
        return height, width
    scale = math.sqrt(NATIVE_PIXELS / (height * width))
    seen = max(16, round(height * scale)), max(16, round(width * scale))
    warnings.warn(
        f"{width}x{height} pixels are restyled at {seen[1]}x{seen[0]} and enlarged", stacklevel=6
    )
    return seen


def _blended(
    coarse: np.ndarray,
    layers: Layers,
    inputs: Inputs,
    strength: float,
    rounding: Rounding,
) -> np.ndarray:
    """The object as painted, at its share, on the painting.

    Rounded to nearest, pixels outside of the mask are copied from the painting bit for bit.
    """
    # Blended at full size from the unblended picture: an enlarged blend would blur the painting.
    final = coarse * layers.mask + layers.painting * (1 - layers.mask)
    if strength < 1:
        final = layers.pasted + np.float32(strength) * (final - layers.pasted)
    image = _stored(final, inputs, rounding)
    if rounding == "nearest" and inputs.background is not None:
        np.copyto(image, inputs.background, where=layers.mask == 0)
    return image


def _stored(image: np.ndarray, inputs: Inputs, rounding: Rounding) -> np.ndarray:
    """f32 sRGB in the [0,1] scale -> dtype and color space of `inputs`.

    Source of "trunc": docs/papers/propih.md, "Inference".
    """
    dtype = inputs.composite.dtype
    image = image if inputs.space is None else inputs.space.from_srgb(image)
    if rounding == "nearest" or np.dtype(dtype).kind == "f":
        return from_unit(image, dtype)
    return from_unit((_inside(image) + 1) / 2, dtype, rounding="truncate")


def _inside(image: np.ndarray) -> np.ndarray:
    """[0,1] -> [-1,1], in float32 and in the official order of operations."""
    return (image - np.float32(0.5)) / np.float32(0.5)

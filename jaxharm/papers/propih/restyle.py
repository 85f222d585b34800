"""ProPIH on images of any size: which stage's result, pasted on the painting at full size.

The composite is first pasted anew: the painting wherever the mask is 0, whatever the composite
holds there. Up to `NATIVE_PIXELS` the network sees the picture as it is, mirrored at the bottom and
at the right to a multiple of 8 (specs/propih 1); beyond, or where a size is given, it sees a smaller
picture, and what it paints is enlarged.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from jaxharm.errors import InputError
from jaxharm.images.bit_depth import from_unit, to_unit
from jaxharm.images.resize import shrink
from jaxharm.inference.pixels import Inputs
from jaxharm.papers.propih.early_exit import StageRunner, check_exit
from jaxharm.papers.propih.model import STAGES

NATIVE_PIXELS = 1536 * 1536  # memory grows with them: see benchmarks and README
StageChoice = int | Literal["auto", "all"]
Rounding = Literal["nearest", "trunc"]


@dataclass(frozen=True)
class Restyle:
    """How a painterly result is chosen and stored.

    Attributes:
        stage: 1 (colors) to 4 (strokes); "auto": the stage that the exit head leaves at, and no
            later one is computed; "all": the results of every stage.
        exit_threshold: of "auto": the probability from which it leaves, in [0,1].
        rounding: of 8 and 16 bits; "trunc" is what the official code does, which may lower even an
            untouched pixel of the painting by one level.
    """

    stage: StageChoice = STAGES
    exit_threshold: float = 0.5
    rounding: Rounding = "nearest"

    @property
    def mode(self) -> Literal["fixed", "gru", "all"]:
        """The name of the choice in `early_exit`."""
        return {"auto": "gru", "all": "all"}.get(str(self.stage), "fixed")  # type: ignore[return-value]

    @property
    def number(self) -> int:
        """The last stage that may have to run."""
        return self.stage if isinstance(self.stage, int) else STAGES


def check_restyle(restyle: Restyle, config: Any) -> None:
    """InputError where the choice does not exist, or not for a model of `config`."""
    known = (*range(1, STAGES + 1), "auto", "all")
    if isinstance(restyle.stage, bool) or restyle.stage not in known:
        raise InputError(
            f"stage {restyle.stage!r}: choose one of {', '.join(map(str, known))} (1 changes colors "
            f"only, {STAGES} paints strokes as well)"
        )
    if restyle.rounding not in ("nearest", "trunc"):
        raise InputError(f"rounding {restyle.rounding!r}: choose nearest or trunc")
    check_exit(config, restyle.mode, restyle.number, restyle.exit_threshold)


def run(
    runner: StageRunner,
    config: Any,
    inputs: Inputs,
    side: int | None,
    strength: float,
    restyle: Restyle,
) -> np.ndarray:
    """Restyles the object of one image.

    Args:
        runner: of the model of `config`.
        inputs: with the painting as background.
        side: the network predicts at side x side; None: at the image's own size, if it can.
        strength: 0 the composite, pasted anew, 1 the result.
        restyle: the choice.

    Returns:
        [h,w,3] in the composite's dtype, or [4,h,w,3] of every stage.

    Raises:
        InputError: no painting, an image too small, or a choice that does not exist.
    """
    check_restyle(restyle, config)
    layers = _layers(inputs, restyle.rounding)
    height, width = inputs.mask.shape
    if side is None and min(height, width) < config.min_size:
        raise InputError(
            f"the image is {width}x{height} pixels and this model needs at least "
            f"{config.min_size} on each side; enlarge it or give a size to predict at"
        )
    seen = (side, side) if side else _seen_size(height, width)
    arrays: tuple[np.ndarray, ...] = (layers.pasted, layers.mask, layers.painting)
    if seen != (height, width):
        small = (layers.pasted, layers.mask[..., 0], layers.painting)
        arrays = tuple(np.clip(shrink(array, seen), 0, 1) for array in small)
    border = [(0, -n % config.size_multiple) for n in seen]
    composite, mask, background = (
        np.pad(a.reshape(*seen, -1), [*border, (0, 0)], mode="reflect")[None] for a in arrays
    )
    result = runner(
        composite,
        mask,
        background,
        mode=restyle.mode,
        stage=restyle.number,
        threshold=restyle.exit_threshold,
    )
    painted = result.coarse if result.coarses is None else result.coarses[:, 0]
    images = []
    for coarse in painted[:, : seen[0], : seen[1]]:
        if seen != (height, width):
            coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        images.append(_blended(coarse, layers, inputs, strength, restyle.rounding))
    return images[0] if result.coarses is None else np.stack(images)


def strip(inputs: Inputs, stages: np.ndarray, rounding: Rounding = "nearest") -> np.ndarray:
    """The official picture of a result: composite pasted anew, mask, painting, the stages.

    Args:
        stages: [4,h,w,3] of `run`.

    Returns:
        [h,7w,3] in the composite's dtype.
    """
    layers, dtype = _layers(inputs, rounding), inputs.composite.dtype
    shown = (layers.pasted, np.repeat(layers.mask, 3, 2), layers.painting)
    panels = [_stored(panel, dtype, rounding) for panel in shown]
    return np.concatenate([*panels, *stages], 1)


class _Layers(NamedTuple):
    """f32 in [0,1]: the painting and the composite pasted on it [h,w,3], the mask [h,w,1]."""

    painting: np.ndarray
    mask: np.ndarray
    pasted: np.ndarray


def _layers(inputs: Inputs, rounding: Rounding) -> _Layers:
    if inputs.background is None:
        raise InputError(
            "propih needs a background image of the composite's size: the painting that the object "
            "is pasted on"
        )
    arrays = (inputs.background, inputs.mask[..., None], inputs.composite)
    painting, mask, composite = (to_unit(array) for array in arrays)
    if rounding == "trunc":
        # Officially all three go to [-1,1] and back first; that moves last bits, and truncation
        # shows them.
        painting, mask, composite = ((_inside(a) + 1) / 2 for a in (painting, mask, composite))
    return _Layers(painting, mask, composite * mask + painting * (1 - mask))


def _seen_size(height: int, width: int) -> tuple[int, int]:
    """The size that the network sees: the image's, unless that is too large."""
    if height * width <= NATIVE_PIXELS:
        return height, width
    scale = math.sqrt(NATIVE_PIXELS / (height * width))
    seen = max(16, round(height * scale)), max(16, round(width * scale))
    warnings.warn(
        f"{width}x{height} pixels are restyled at {seen[1]}x{seen[0]} and enlarged", stacklevel=4
    )
    return seen


def _blended(
    coarse: np.ndarray,
    layers: _Layers,
    inputs: Inputs,
    strength: float,
    rounding: Rounding,
) -> np.ndarray:
    """The object as painted, at its share, on the painting; rounded to nearest, the painting's own
    pixels stay as they are."""
    final = coarse * layers.mask + layers.painting * (1 - layers.mask)
    if strength < 1:
        final = layers.pasted + np.float32(strength) * (final - layers.pasted)
    image = _stored(final, inputs.composite.dtype, rounding)
    if rounding == "nearest" and inputs.background is not None:
        np.copyto(image, inputs.background, where=layers.mask == 0)
    return image


def _stored(image: np.ndarray, dtype: np.dtype, rounding: Rounding) -> np.ndarray:
    """f32 in the [0,1] scale -> `dtype`. Source of "trunc": specs/propih 5.4."""
    if rounding == "nearest" or np.dtype(dtype).kind == "f":
        return from_unit(image, dtype)
    return from_unit((_inside(image) + 1) / 2, dtype, rounding="truncate")


def _inside(image: np.ndarray) -> np.ndarray:
    """[0,1] -> [-1,1], in float32 and in the official order of operations."""
    return (image - np.float32(0.5)) / np.float32(0.5)

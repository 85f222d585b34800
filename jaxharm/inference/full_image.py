"""Models that give pixels (PHNet and the like): run at native size, or small and carried over.

Up to `NATIVE_FACTOR` times the size a model was trained at, the image is padded by reflection to a
multiple that the network accepts and cut back. Beyond, the network sees the image squashed to its
own size, and its *change* is carried to full size: in windows of the small image the change is
fitted as an affine function of the composite's color (a guided filter, He et al., arXiv
1505.00996, restricted to the foreground), and the coefficients, which are smooth, are enlarged.
Grain and edges are those of the full-size composite.
"""

import math
from functools import partial
from typing import Any

import cv2
import jax
import numpy as np
from flax import linen as nn

from jaxharm.errors import InputError
from jaxharm.images.bit_depth import from_unit, to_unit
from jaxharm.images.resize import shrink
from jaxharm.inference.pixels import Inputs
from jaxharm.inference.tiles import enlarge_rows, foreground_box, row_tiles

NATIVE_FACTOR = 2
_BUCKET = 32  # padded sides are multiples of this: few shapes, few compilations
_RADIUS = 4  # window of the local fit, in pixels of the small image
_EPSILON = 3e-4  # variance below which the fit is a plain shift of color


@partial(jax.jit, static_argnums=0)
def predict_arrays(
    model: nn.Module, variables: Any, composite: Any, mask: Any, background: Any | None
) -> jax.Array:
    """The network's own image f32[h,w,3], before blending, of f32[1,h,w,c] inputs."""
    output: Any = model.apply(variables, composite, mask, background=background, train=False)
    return output.aux["raw"][0]


def run(
    model: nn.Module, variables: Any, inputs: Inputs, side: int | None, strength: float
) -> np.ndarray:
    """Harmonizes one image, natively or at side x side (None: chosen by the image's size).

    Returns:
        [h,w,3] in the composite's dtype.

    Raises:
        InputError: an image side is below the model's minimum and no `side` was given.
    """
    height, width = inputs.mask.shape
    config = model.config
    if side is None and min(height, width) < config.min_size:
        raise InputError(
            f"the image is {width}x{height} pixels and this model needs at least "
            f"{config.min_size} on each side; enlarge it or give a size to predict at"
        )
    if side is None and max(height, width) > NATIVE_FACTOR * config.default_size:
        side = config.default_size
    if side is None or (height, width) == (side, side):
        return _native(model, variables, inputs, strength)
    return _carried(model, variables, inputs, side, strength)


def _native(model: nn.Module, variables: Any, inputs: Inputs, strength: float) -> np.ndarray:
    height, width = inputs.mask.shape
    multiple = math.lcm(model.config.size_multiple, _BUCKET)
    border = ((0, -height % multiple), (0, -width % multiple), (0, 0))

    def pad(image: np.ndarray) -> np.ndarray:
        return np.pad(to_unit(image), border, mode="symmetric")[None]

    background = None if inputs.background is None else pad(inputs.background)
    raw = predict_arrays(
        model, variables, pad(inputs.composite), pad(inputs.mask[..., None]), background
    )
    composite, soft = to_unit(inputs.composite), inputs.mask[..., None]
    change = np.clip(np.asarray(raw)[:height, :width], 0, 1) - composite
    result = from_unit(composite + strength * soft * change, inputs.composite.dtype)
    np.copyto(result, inputs.composite, where=soft == 0)
    return result


def _carried(
    model: nn.Module, variables: Any, inputs: Inputs, side: int, strength: float
) -> np.ndarray:
    size = (side, side)
    small = shrink(inputs.composite, size)
    small_mask = np.clip(shrink(inputs.mask, size), 0, 1)[..., None]
    background = None if inputs.background is None else shrink(inputs.background, size)[None]
    raw = predict_arrays(model, variables, small[None], small_mask[None], background)
    gain, shift = fit_change(small, np.clip(np.asarray(raw), 0, 1) - small, small_mask)
    composite, mask = inputs.composite, inputs.mask
    result = composite.copy()
    rows, columns = foreground_box(mask)
    for tile in row_tiles(rows, mask.shape[1]):
        part = (tile, columns)
        image, soft = to_unit(composite[part]), mask[part][..., None]
        change = image * enlarge_rows(gain, mask.shape, tile)[:, columns]
        change += enlarge_rows(shift, mask.shape, tile)[:, columns]
        pixels = from_unit(image + strength * soft * change, composite.dtype)
        np.copyto(result[part], pixels, where=soft > 0)
    return result


def fit_change(
    image: np.ndarray, change: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fits change = gain * image + shift per channel in windows, weighted by the mask.

    Args:
        image, change: f32[h,w,3].  weight: f32[h,w,1] in [0,1].

    Returns:
        gain, shift: f32[h,w,3], smooth, and extended a few pixels beyond the foreground so that
        enlarging them draws nothing from the background. Zero far from the foreground.
    """
    image, change = image.astype(np.float64), change.astype(np.float64)  # running sums, below
    weight = np.broadcast_to(weight, image.shape).astype(np.float64)
    mass = _box(weight)
    near = np.maximum(mass, 1e-6)
    mean_image = _box(weight * image) / near
    mean_change = _box(weight * change) / near
    covariance = _box(weight * image * change) / near - mean_image * mean_change
    variance = np.maximum(_box(weight * image * image) / near - mean_image**2, 0)
    gain = covariance / (variance + _EPSILON)
    shift = mean_change - gain * mean_image
    spread = np.maximum(_box(mass), 1e-6)
    gain, shift = _box(mass * gain) / spread, _box(mass * shift) / spread
    return gain.astype(np.float32), shift.astype(np.float32)


def _box(values: np.ndarray) -> np.ndarray:
    """Mean over the window; what lies outside the image counts as zero."""
    width = 2 * _RADIUS + 1
    return cv2.boxFilter(values, -1, (width, width), borderType=cv2.BORDER_CONSTANT)

"""Networks that give pixels: run at the image's own size, or small and carried over.

Up to `NATIVE_FACTOR` times the size a model was trained at, the image is padded by reflection to a
multiple that the network accepts and cut back. Beyond, the network sees the image squashed to its
own size, and its *change* is carried to full size: in windows of the small image the change is
fitted as an affine function of the composite's color (a guided filter, He et al., arXiv
1505.00996, restricted to the foreground), and the coefficients, which are smooth, are enlarged.
Grain and edges are those of the full-size composite.
"""

import math
from functools import partial
from typing import NamedTuple

import cv2
import jax
import numpy as np
from flax import linen as nn

from jaxharm.images.resize import shrink
from jaxharm.images.spaces import to_srgb
from jaxharm.inference.pixels import recolored, seen_background, seen_composite
from jaxharm.inference.runner import (
    BaseRunner,
    NoOptions,
    apply_network,
    check_least_size,
    config_of,
)
from jaxharm.inference.tiles import enlarge_rows, foreground_box, row_tiles
from jaxharm.interfaces import Array, Inputs, Params

NATIVE_FACTOR = 2
_BUCKET = 32  # padded sides are multiples of this: few shapes, few compilations
_RADIUS = 4  # window of the local fit, in pixels of the small image
_EPSILON = 3e-4  # variance below which the fit is a plain shift of color


class Seen(NamedTuple):
    """What the network sees: f32[h,w,c] each in [0,1], `multiple` the sides' divisor after padding."""

    composite: np.ndarray
    mask: np.ndarray
    background: np.ndarray | None
    multiple: int


class Pixels(NamedTuple):
    """A prediction, f32[h,w,c] in [0,1]: the network's own image, and what it was made from."""

    raw: np.ndarray
    composite: np.ndarray
    mask: np.ndarray


@partial(jax.jit, static_argnums=0)
def predict_arrays(
    model: nn.Module,
    variables: Params,
    composite: Array,
    mask: Array,
    background: Array | None,
) -> Array:
    """The network's own image f32[h,w,3], before blending, of f32[1,h,w,c] inputs."""
    output = apply_network(model, variables, composite, mask, background)
    raw: Array = output.aux["raw"][0]
    return raw


class PixelRunner(BaseRunner[NoOptions, Seen, Pixels]):
    """The runner of every model that does not bring its own."""

    Options = NoOptions

    def as_is(self, height: int, width: int) -> bool:
        """See `jaxharm.interfaces.Runner`."""
        side, multiple = self._side(height, width), self._multiple
        squashed = side is not None and (height, width) != (side, side)
        return not squashed and height % multiple == width % multiple == 0

    def _prepare(self, inputs: Inputs, options: NoOptions) -> Seen:
        config = config_of(self.model)
        height, width = inputs.mask.shape
        side = self._side(height, width)
        if side is None:
            check_least_size(inputs, config.min_size)
        # A size equal to the image's needs no carrying over: that would only blur the change.
        if side is None or (height, width) == (side, side):
            return Seen(
                seen_composite(inputs),
                inputs.mask[..., None],
                seen_background(inputs),
                self._multiple,
            )
        size = (side, side)
        return Seen(
            seen_composite(inputs, size),
            # Pillow's filter overshoots by a rounding where a mask is 0 or 1.
            np.clip(shrink(inputs.mask, size), 0, 1)[..., None],
            seen_background(inputs, size),
            1,
        )

    def _side(self, height: int, width: int) -> int | None:
        """The side that images of this size are squashed to; None: they are seen at their own."""
        config = config_of(self.model)
        large = max(height, width) > NATIVE_FACTOR * config.default_size
        return self.settings.size or (config.default_size if large else None)

    @property
    def _multiple(self) -> int:
        return math.lcm(config_of(self.model).size_multiple, _BUCKET)

    def _predict(self, prepared: Seen, options: NoOptions) -> Pixels:
        height, width = prepared.mask.shape[:2]
        border = ((0, -height % prepared.multiple), (0, -width % prepared.multiple), (0, 0))

        def pad(image: np.ndarray) -> np.ndarray:
            return np.pad(image, border, mode="symmetric")[None]

        composite, mask, background = prepared[:3]
        raw = predict_arrays(
            self.model,
            self._variables,
            pad(composite),
            pad(mask),
            None if background is None else pad(background),
        )
        return Pixels(np.clip(np.asarray(raw)[:height, :width], 0, 1), composite, mask)

    def _apply(
        self, inputs: Inputs, prediction: Pixels, strength: float, options: NoOptions
    ) -> np.ndarray:
        if prediction.mask.shape[:2] == inputs.mask.shape:
            return _blended(inputs, prediction, strength)
        return _carried(inputs, prediction, strength)


def _blended(inputs: Inputs, prediction: Pixels, strength: float) -> np.ndarray:
    """The prediction, made at the image's own size, under the mask."""
    composite, soft = to_srgb(inputs.composite, inputs.space), inputs.mask[..., None]
    image = composite + strength * soft * (prediction.raw - composite)
    result = recolored(inputs.composite, image, inputs.space)
    # Not every dtype survives the way through float32 bit for bit: the background is copied.
    np.copyto(result, inputs.composite, where=soft == 0)
    return result


def _carried(inputs: Inputs, prediction: Pixels, strength: float) -> np.ndarray:
    """The change that a small prediction makes, applied to the full-size composite in tiles."""
    small = prediction.composite
    gain, shift = fit_change(small, prediction.raw - small, prediction.mask)
    composite, mask = inputs.composite, inputs.mask
    result = composite.copy()
    rows, columns = foreground_box(mask)
    # In tiles, since the enlarged coefficients are six floats for every pixel.
    for tile in row_tiles(rows, mask.shape[1]):
        part = (tile, columns)
        image, soft = to_srgb(composite[part], inputs.space), mask[part][..., None]
        change = image * enlarge_rows(gain, mask.shape, tile)[:, columns]
        change += enlarge_rows(shift, mask.shape, tile)[:, columns]
        pixels = recolored(composite[part], image + strength * soft * change, inputs.space)
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
    # float64: the box filter keeps running sums, and variances are differences of them.
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
    # Coefficients are averaged over the windows that a pixel lies in, which smooths them, weighted
    # by how much foreground a window has: an almost empty one knows little.
    spread = np.maximum(_box(mass), 1e-6)
    gain, shift = _box(mass * gain) / spread, _box(mass * shift) / spread
    return gain.astype(np.float32), shift.astype(np.float32)


def _box(values: np.ndarray) -> np.ndarray:
    """Mean over the window; what lies outside the image counts as zero."""
    width = 2 * _RADIUS + 1
    return cv2.boxFilter(values, -1, (width, width), borderType=cv2.BORDER_CONSTANT)

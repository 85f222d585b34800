"""Structural similarity per image, over the whole image (SSIM) or its foreground (fSSIM).

Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
Variants (`Protocol.ssim`); the map is a mean over the three channels:

* gauss11_valid: Gaussian 11x11, sigma 1.5, K1 0.01, K2 0.03, L 255, population covariance; SSIM is
  the mean without the 5 px border, fSSIM the weighted mean of the map with a mirrored border.
* gauss11_blended: the same on weight * prediction + (1 - weight) * real (PCT-Net, DCCF, INR).
* gauss7_zero: Gaussian 7x7, zero padding, L = max - min of the prediction, whole map (CDTNet).
* gauss11_zero_unscaled: Gaussian 11x11, zero padding, constants meant for images in 0..1 applied
  to 0..255, as published (HarmonyTransformer).
* uniform7_valid: uniform 7x7, sample covariance, L 255, without the 3 px border (scikit-image).

See docs/metrics.md, "Definitions".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.errors import InputError
from jaxharm.metrics.arrays import Images, Pair, compiled, make_pair, total, weighted_mean
from jaxharm.metrics.protocols import Protocol


@dataclass(frozen=True)
class _Variant:
    window: int
    sigma: float | None  # None: uniform window
    zero_padding: bool
    constants: tuple[float, float] | None = None  # None: (0.01 L)^2, (0.03 L)^2
    prediction_range: bool = False  # L = max - min of the prediction, else 255
    sample_covariance: bool = False
    blended: bool = False


_VARIANTS = {
    "gauss11_valid": _Variant(11, 1.5, zero_padding=False),
    "gauss11_blended": _Variant(11, 1.5, zero_padding=False, blended=True),
    "gauss7_zero": _Variant(7, 1.5, zero_padding=True, prediction_range=True),
    "gauss11_zero_unscaled": _Variant(11, 1.5, zero_padding=True, constants=(1e-4, 9e-4)),
    "uniform7_valid": _Variant(7, None, zero_padding=False, sample_covariance=True),
}


def ssim(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> Images:
    """Structural similarity, f32[b], 1 for equal images.

    Args:
        prediction: f32[b,h,w,3] in [0,1]; clipped unless the protocol has `clip=False`.
        target: f32[b,h,w,3] in [0,1].
        mask: f32[b,h,w,1] in [0,1]; read only by the blended variant.
        protocol: the conventions.

    Raises:
        InputError (a ValueError): shapes that do not match, an image smaller than the window, or
            an unknown protocol.
    """
    pair = make_pair(prediction, target, mask, protocol)
    return pair_ssim(pair)[0].astype(np.float32)


def fssim(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> Images:
    """Foreground structural similarity, f32[b]; NaN for an empty mask. As `ssim` otherwise."""
    pair = make_pair(prediction, target, mask, protocol)
    return pair_ssim(pair)[1].astype(np.float32)


@compiled
def pair_ssim(pair: Pair) -> tuple[Images, Images]:
    """(SSIM, fSSIM) of a prepared pair from one map, each [b]."""
    variant = _VARIANTS[pair.protocol.ssim]
    height, width = pair.target.shape[1:3]
    if min(height, width) < variant.window:
        raise InputError(
            f"SSIM needs at least {variant.window} pixels a side, the images are {height}x{width}"
        )
    similarity = _map(pair, variant)
    border = 0 if variant.zero_padding else variant.window // 2
    inner = similarity[:, border : height - border, border : width - border]
    whole = total(inner) / np.prod(inner.shape[1:])
    return whole, weighted_mean(pair.xp, similarity, pair.weight)


def _map(pair: Pair, variant: _Variant) -> Images:
    xp, x, y = pair.xp, pair.prediction, pair.target
    if variant.blended:
        x = pair.weight * x + (1 - pair.weight) * y
    c1, c2 = _constants(pair, variant)
    # Variances do not change with a shift, which keeps float32 from canceling. (The variants with
    # zero padding reproduce a published value, canceling included.)
    shift = 0.0 if variant.zero_padding else 127.5
    edge = variant.window // 2
    pads = ((0, 0), (edge, edge), (edge, edge), (0, 0))
    if variant.zero_padding:
        x, y = (xp.pad(v.astype(np.float32), pads) for v in (x, y))
        blur = _fused_blur
    else:
        x, y = (xp.pad(v - shift, pads, mode="symmetric") for v in (x, y))
        blur = _separable_blur
    mean_x, mean_y, xx, yy, xy = (blur(v, variant) for v in (x, y, x * x, y * y, x * y))
    area = variant.window**2
    scale = area / (area - 1) if variant.sample_covariance else 1.0
    var_x, var_y = scale * (xx - mean_x**2), scale * (yy - mean_y**2)
    cov = scale * (xy - mean_x * mean_y)
    mean_x, mean_y = mean_x + shift, mean_y + shift
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    return (luminance * structure).astype(pair.target.dtype).mean(axis=-1, keepdims=True)


def _constants(pair: Pair, variant: _Variant) -> tuple[Images | float, Images | float]:
    """C1 and C2, which keep the quotients finite on flat areas."""
    if variant.constants is not None:
        return variant.constants
    level: Images | float = 255.0
    if variant.prediction_range:
        axes = (1, 2, 3)
        level = pair.prediction.max(axis=axes, keepdims=True)
        level = level - pair.prediction.min(axis=axes, keepdims=True)
    return (0.01 * level) ** 2, (0.03 * level) ** 2


def _taps(variant: _Variant) -> np.ndarray:
    if variant.sigma is None:
        return np.full(variant.window, 1 / variant.window)
    offsets = np.arange(variant.window) - variant.window // 2
    kernel = np.exp(-(offsets**2) / (2 * variant.sigma**2))
    return kernel / kernel.sum()


def _separable_blur(x: Images, variant: _Variant) -> Images:
    """The window over height, then width; valid area."""
    kernel = [float(k) for k in _taps(variant)]
    height, width = (n - variant.window + 1 for n in x.shape[1:3])
    x = _added(k * x[:, i : i + height] for i, k in enumerate(kernel))
    return _added(k * x[:, :, i : i + width] for i, k in enumerate(kernel))


def _added(terms: Iterable[Images]) -> Images:
    """The sum in the order of the terms, starting from 0 as `sum` does."""
    return cast(Images, sum(terms))


def _fused_blur(x: Images, variant: _Variant) -> Images:
    """The float32 window in two dimensions, fused multiply-adds in row order; valid area."""
    # The constants of the two zero-padded variants are so small that the rounding of
    # E[x^2] - E[x]^2 is part of the published value (2e-4 on smooth images). So it is repeated: in
    # float32, with a two-dimensional window, taps in row order, each a fused multiply-add.
    n = variant.window
    offsets = np.arange(n) - n // 2
    taps = np.exp(-(offsets**2) / (2 * 1.5**2)).astype(np.float32)
    taps = taps / taps.sum(dtype=np.float64).astype(np.float32)
    window = np.outer(taps, taps)
    batch, height, width, channels = x.shape
    shape = (batch, height - n + 1, width - n + 1, channels)
    if isinstance(x, np.ndarray):
        result, exact = np.zeros(shape, np.float32), x.astype(np.float64)
        for i, j in np.ndindex(n, n):  # the product is exact in float64: one rounding, as fused
            part = exact[:, i : i + shape[1], j : j + shape[2]]
            result = (result + float(window[i, j]) * part).astype(np.float32)
        return result

    def add_tap(k: jax.Array, result: jax.Array) -> jax.Array:
        i, j = k // n, k % n
        return result + jnp.asarray(window)[i, j] * jax.lax.dynamic_slice(x, (0, i, j, 0), shape)

    # A loop, not unrolled taps: the compiler then fuses each multiply-add.
    return jax.lax.fori_loop(0, n * n, add_tap, jnp.zeros(shape, jnp.float32))

"""Color statistics of the foreground, of all around it, and of a narrow ring, in RGB and in CIE Lab.

Wider than `region_statistics`, whose numbers are part of saved weights: the ring says what light falls
beside the object, Lab what looks alike, and the correlations how gray a region is.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxharm.images.color import exact_lab
from jaxharm.interfaces import Array

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
RING = 6  # pixels around the foreground
PER_REGION = 3 * (2 + 2 + 1) + 2 * 3 * len(QUANTILES) + 2
COUNT = 3 * PER_REGION + 1
_LAB_UNIT = 100.0  # brings Lab to the size of RGB
_PAIRS = ((0, 1), (0, 2), (1, 2))  # of the channels, for correlations
_LEAST_VARIANCE = 1e-6
_FIXED = 2.0**16  # steps of the fixed-point numbers that quantiles are found in


def wide_statistics(image: Array, mask: Array) -> Array:
    """Moments, correlations, quantiles and chroma of three regions, and the foreground's share.

    Args:
        image: f32[b,h,w,3] in [0,1].
        mask: f32[b,h,w,1] in [0,1]; 0.5 or more counts as foreground.

    Returns:
        f32[b,178]: per region (foreground, the rest, a ring of 6 pixels around the foreground) means
        and standard deviations of RGB and of Lab / 100, three correlations of RGB, seven quantiles of
        RGB and of Lab, the mean of max - min over the channels and that of Lab's chroma; then the
        foreground's share. An empty region gives numbers near 0. No gradient passes.
    """
    image, mask = jax.lax.stop_gradient((image, mask))
    rgb = image.reshape(image.shape[0], -1, 3)
    lab = jnp.concatenate(exact_lab(image, jnp), -1).reshape(rgb.shape) / _LAB_UNIT
    pixels = jnp.concatenate([rgb, lab], -1)
    foreground = (mask >= 0.5).astype(jnp.float32)
    ring = _grow(foreground) - foreground
    parts = [
        _of_region(pixels, region.reshape(image.shape[0], -1, 1))
        for region in (foreground, 1 - foreground, ring)
    ]
    return jnp.concatenate([*parts, jnp.mean(foreground, (1, 2))], -1)


def _of_region(pixels: Array, region: Array) -> Array:
    """f32[b,n,6] and zeros and ones f32[b,n,1] -> f32[b,PER_REGION]."""
    count = jnp.maximum(jnp.sum(region, 1, keepdims=True), 1.0)
    mean = jnp.sum(pixels * region, 1, keepdims=True) / count
    offset = (pixels - mean) * region
    deviation = jnp.sqrt(jnp.sum(offset**2, 1) / count[:, 0] + _LEAST_VARIANCE)
    correlations = [
        jnp.sum(offset[..., i] * offset[..., j], 1)
        / count[:, 0, 0]
        / (deviation[:, i] * deviation[:, j])
        for i, j in _PAIRS
    ]
    rgb, lab = pixels[..., :3], pixels[..., 3:]
    spread = jnp.max(rgb, -1, keepdims=True) - jnp.min(rgb, -1, keepdims=True)
    chroma = jnp.linalg.norm(lab[..., 1:], axis=-1, keepdims=True)
    saturation = jnp.sum(jnp.concatenate([spread, chroma], -1) * region, 1) / count[:, 0]
    quantiles = _quantiles(pixels, region).reshape(pixels.shape[0], -1)
    return jnp.concatenate(
        [mean[:, 0], deviation, jnp.stack(correlations, -1), quantiles, saturation], -1
    )


def _quantiles(pixels: Array, region: Array) -> Array:
    """f32[b,7,6]: quantiles of each channel over a region of zeros and ones; zeros if it is empty."""
    # XLA sorts integers five times faster than floats on a CPU, and this is the network's main cost.
    fixed = jnp.round(pixels * _FIXED).astype(jnp.int32)
    # Pixels outside sort to the end, whatever their number: shapes stay fixed under jit.
    ordered = jnp.sort(jnp.where(region > 0, fixed, np.iinfo(np.int32).max), axis=1)
    count = jnp.sum(region, (1, 2))[:, None]
    shares = np.array([QUANTILES], np.float32)
    index = jnp.round(shares * jnp.maximum(count - 1, 0)).astype(jnp.int32)
    values = jnp.take_along_axis(ordered, index[..., None], axis=1)
    return jnp.where(count[..., None] > 0, values, 0) / _FIXED


def _grow(region: Array) -> Array:
    """Maximum over a square of RING pixels to each side, f32[b,h,w,1]."""
    side = 2 * RING + 1
    grown: Array = nn.max_pool(region, window_shape=(side, side), padding="SAME")
    return grown

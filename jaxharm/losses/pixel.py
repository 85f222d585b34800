"""Pixel losses, each as a pair (sum, count)."""
# A pair instead of a mean: the sums and counts of several devices add up to the exact mean of all
# their images, which a mean of means is not.

import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.losses.reduction import Ratio


def squared_error(prediction: Array, target: Array) -> Ratio:
    """Sum of squared differences over the number of entries.

    Args:
        prediction, target: f32[b,h,w,c] in [0,1].
    """
    return jnp.sum(jnp.square(prediction - target)), jnp.float32(prediction.size)


def absolute_error(prediction: Array, target: Array) -> Ratio:
    """Sum of absolute differences over the number of entries.

    Args:
        prediction, target: f32[b,h,w,c] in [0,1].
    """
    return jnp.sum(jnp.abs(prediction - target)), jnp.float32(prediction.size)


def masked_absolute_error(prediction: Array, target: Array, mask: Array) -> Ratio:
    """Sum of |prediction*m - target*m| over the number of all entries, masked out or not.

    Args:
        prediction, target: f32[b,h,w,c] in [0,1].
        mask: f32[b,h,w,1].
    """
    return jnp.sum(jnp.abs(prediction - target) * mask), jnp.float32(prediction.size)


def foreground_absolute_error(
    prediction: Array, target: Array, mask: Array, *, min_area: float = 100.0
) -> Ratio:
    """Per image, absolute differences inside the foreground over its size; summed over the images.

    Args:
        prediction, target: f32[b,h,w,c] in [0,1].
        mask: f32[b,h,w,1].
        min_area: the foreground counts as at least this many pixels; also the empty one.

    Returns:
        Sum over the images of sum |prediction-target| m / (c * max(sum m, min_area)), and b.
    """
    error = jnp.sum(jnp.abs(prediction - target) * mask, (1, 2, 3))
    area = jnp.maximum(jnp.sum(mask, (1, 2, 3)), min_area)
    return jnp.sum(error / (prediction.shape[-1] * area)), jnp.float32(len(prediction))


def foreground_normalized_error(
    prediction: Array, target: Array, mask: Array, *, min_area: float = 100.0
) -> Ratio:
    """Per image, squared differences over the foreground's size; summed over the images.

    Background errors count as well: it is a foreground error only if the prediction has the
    target's background.

    Args:
        prediction, target: f32[b,h,w,c] in [0,1].
        mask: f32[b,h,w,1].
        min_area: the foreground counts as at least this many pixels; also the empty one.

    Returns:
        Sum over the images of sum (prediction-target)^2 / (c * max(sum m, min_area)), and b.
    """
    square = jnp.sum(jnp.square(prediction - target), (1, 2, 3))
    area = jnp.maximum(jnp.sum(mask, (1, 2, 3)), min_area)
    return jnp.sum(square / (prediction.shape[-1] * area)), jnp.float32(len(prediction))

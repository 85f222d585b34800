"""Relation distillation: the similarity of every position of a feature map to its foreground.

Everything is float32, whatever the features. Source: docs/papers/giftnet.md, "Losses".
"""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.losses.reduction import Ratio

Similarity = Literal["cosine", "dot", "neg_l2"]
Positions = Literal["all", "background", "foreground"]
Distance = Literal["l2", "l1"]
_MIN_AREA = 1e-6
_MIN_NORM = 1e-8
_MIN_FOREGROUND = 1.0  # pixels at full size; with no more an image has no relation to learn


def relation_map(features: Array, mask: Array, *, similarity: Similarity = "cosine") -> Array:
    """Similarity of the mean foreground feature to the feature of every position.

    Args:
        features: f[b,h,w,c].
        mask: f32[b,h,w,1] at the features' size, 1 = foreground.
        similarity: "cosine" in [-1,1]; "dot", the inner product, or "neg_l2", the negative squared
            distance, both averaged over the channels.

    Returns:
        f32[b,h,w]. Without any foreground the mean feature is 0, and so are "cosine" and "dot".
    """
    features = features.astype(jnp.float32)
    area = jnp.maximum(jnp.sum(mask, (1, 2), keepdims=True), _MIN_AREA)
    mean = jnp.sum(mask * features, (1, 2), keepdims=True) / area
    if similarity == "neg_l2":
        return -jnp.mean(jnp.square(features - mean), -1)
    inner = jnp.sum(mean * features, -1)
    if similarity == "dot":
        return inner / features.shape[-1]
    # The bound is inside the root: the gradient of the length |F| at F = 0 would not be finite.
    square = jnp.sum(jnp.square(mean), -1) * jnp.sum(jnp.square(features), -1)
    return inner / jnp.sqrt(jnp.maximum(square, _MIN_NORM**2))


def unit_features(features: Array) -> Array:
    """Scales features to length one at every position; zero stays zero. f[b,h,w,c] -> f32."""
    features = features.astype(jnp.float32)
    square = jnp.sum(jnp.square(features), -1, keepdims=True)
    return features / jnp.sqrt(jnp.maximum(square, _MIN_NORM**2))


def map_distance(
    student: Array,
    teacher: Array,
    mask: Array,
    *,
    positions: Positions = "all",
    distance: Distance = "l2",
) -> Array:
    """Difference of two maps per image, averaged over the positions.

    Args:
        student, teacher: f32[b,h,w] relation maps, or f32[b,h,w,c] features, whose channels are
            summed.
        mask: f32[b,h,w,1]: the weights of the "foreground", 1 - mask those of the "background".

    Returns:
        f32[b]; 0 where no position counts.
    """
    difference = student - teacher
    error = jnp.square(difference) if distance == "l2" else jnp.abs(difference)
    if error.ndim == 4:
        error = jnp.sum(error, -1)
    if positions == "all":
        return jnp.mean(error, (1, 2))
    weight = mask[..., 0] if positions == "foreground" else 1 - mask[..., 0]
    return jnp.sum(weight * error, (1, 2)) / jnp.maximum(jnp.sum(weight, (1, 2)), _MIN_AREA)


def distillation_error(levels: Sequence[Array], mask: Array) -> Ratio:
    """The distillation loss: mean over the levels, summed over the images that have a foreground.

    Args:
        levels: f32[b] of `map_distance`, per level.
        mask: f32[b,h,w,1] at full size; images with a sum of at most 1 have weight 0.

    Returns:
        The sum, and the number of images that count (which may be 0).
    """
    # A count instead of a mean, since the images without foreground are spread unevenly over the
    # devices.
    counts = (jnp.sum(mask, (1, 2, 3)) > _MIN_FOREGROUND).astype(jnp.float32)
    return jnp.sum(counts * jnp.mean(jnp.stack(levels), 0)), jnp.sum(counts)

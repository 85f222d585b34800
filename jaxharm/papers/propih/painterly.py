"""Errors of content and of style between images, from the features of the normalized VGG-19.

All errors are per image. Source: docs/papers/propih.md, "Losses".
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import Array, Output, Params
from jaxharm.ops import masked_moments
from jaxharm.papers.propih.model import STAGES, stage_mask
from jaxharm.papers.propih.vgg import COLLECTION

# Mean and standard deviation of a layer, f32[b,1,1,c] each.
Moments = tuple[Array, Array]


def content_error(features: Array, target: Array) -> Array:
    """Mean squared difference over the whole map, object and painting.

    Args:
        features, target: f[b,h,w,c], relu4_1 of an image and of the composite.

    Returns:
        f32[b].
    """
    difference = features.astype(jnp.float32) - target.astype(jnp.float32)
    return jnp.mean(jnp.square(difference), (1, 2, 3))


def style_moments(features: Sequence[Array]) -> tuple[Moments, ...]:
    """Moments of every layer of the whole painting.

    Args:
        features: f[b,h,w,c] per layer.
    """
    everywhere = [jnp.ones((*layer.shape[:3], 1)) for layer in features]
    return tuple(
        masked_moments(layer, mask) for layer, mask in zip(features, everywhere, strict=True)
    )


def style_errors(
    features: Sequence[Array], masks: Sequence[Array], target: Sequence[Moments]
) -> Array:
    """Squared differences of the object's moments to the painting's, averaged over the channels.

    Args:
        features: f[b,h,w,c] per layer.
        masks: f32[b,h,w,1] per layer.
        target: of `style_moments`.

    Returns:
        f32[b,layers,2]: of the mean and of the standard deviation, per layer.
    """
    errors = [
        jnp.stack(
            [
                jnp.mean(jnp.square(found - wanted), (1, 2, 3))
                for found, wanted in zip(masked_moments(layer, mask), moments, strict=True)
            ],
            -1,
        )
        for layer, mask, moments in zip(features, masks, target, strict=True)
    ]
    return jnp.stack(errors, 1)


class Targets(NamedTuple):
    """What the encoder's features of a result are compared with; none of it has a gradient."""

    encoder: Params
    masks: tuple[Array, ...]  # per layer
    content: Array  # relu4_1 of the composite
    style: tuple[Moments, ...]  # moments of the painting, per layer


def targets_of(output: Output, mask: Array, encoder: Params) -> Targets:
    """What results are compared with, from a training-mode output of the model."""
    masks = tuple(stage_mask(mask, k) for k in range(1, STAGES + 1))
    styles = style_moments(output.aux["style_features"])
    content = output.aux["content_features"][-1]
    return jax.lax.stop_gradient(Targets(encoder, masks, content, styles))


def image_errors(module: nn.Module, image: Array, targets: Targets) -> tuple[Array, Array]:
    """Content error f32[b] and style errors f32[b,4,2] of results f32[b,h,w,3]."""
    variables = {"params": {}, COLLECTION: targets.encoder}
    features: Any = module.apply(variables, image, method="encode")
    styles = style_errors(features, targets.masks, targets.style)
    return content_error(features[-1], targets.content), styles

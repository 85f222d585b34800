"""What the exit head learns from: descriptors and errors of every stage's result.

Source: docs/papers/propih.md, "Training" (our design).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import Array, DeviceBatch, Params
from jaxharm.papers.propih.exit import ExitHead, stage_descriptor
from jaxharm.papers.propih.painterly import image_errors, style_errors, targets_of
from jaxharm.papers.propih.vgg import COLLECTION


class Measured(NamedTuple):
    """Of b composites.

    Attributes:
        descriptors: f32[b,3,d], of the stages that a decision follows.
        style: f32[b,4], style error of every result over that of the composite.
        content: f32[b,4], content error of every result.
    """

    descriptors: Array
    style: Array
    content: Array


def measure(module: nn.Module, variables: Params, batch: DeviceBatch) -> Measured:
    """Runs the frozen generator.

    Args:
        module: ProPIH.
        variables: its weights; the exit head's are not used.
        batch: images in [0,1], with paintings.
    """
    inputs = batch.composite, batch.mask, batch.background
    output: Any = module.apply(variables, *inputs, train=True)
    targets = targets_of(output, batch.mask, variables[COLLECTION])
    # One stage after another, so that the encoder's memory is that of one image.
    content, layers = jax.lax.map(
        lambda image: image_errors(module, image, targets), output.aux["stages"]
    )
    style = jnp.sum(layers, (2, 3))
    untouched = style_errors(output.aux["content_features"], targets.masks, targets.style)
    # Without any object all errors are those of no pixels: equal.
    style = style / jnp.maximum(jnp.sum(untouched, (1, 2)), 1e-12)[None]
    descriptors = [stage_descriptor(features, batch.mask) for features in output.aux["features"]]
    return Measured(jnp.stack(descriptors[:-1], 1), style.T, content.T)


def exit_logits(head: Params, descriptors: Array) -> Array:
    """The head's logits f32[3,b] for the descriptors f32[b,3,d] of the stages in order."""
    units = head["input"]["kernel"].shape[1]
    memory: Any = jnp.zeros((len(descriptors), units))
    logits: list[Any] = []
    for number in range(descriptors.shape[1]):
        memory, logit = ExitHead(units).apply({"params": head}, memory, descriptors[:, number])
        logits.append(logit)
    return jnp.stack(logits)

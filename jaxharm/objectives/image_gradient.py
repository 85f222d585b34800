"""A loss that takes its gradient towards the image at once, so that nothing of it is kept.

Differentiating a sum of losses through a large network keeps the activations of all passes until
the backward pass, or computes each pass twice. A loss is a number: its gradient towards the image
can be computed right after it, and only that, as large as the image, waits for the backward pass.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxharm.types import Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def image_loss(
    function: Callable[..., tuple[Array, Any]], image: Array, constants: Any
) -> tuple[Array, Any]:
    """`function(image, constants)`, differentiable once in the image.

    Args:
        function: hashable, holds no arrays; returns a scalar and further terms.
        image: f32[...]; gets the scalar's gradient.
        constants: arrays that get none.

    Returns:
        The scalar, and the terms, which pass no gradient on.
    """
    return function(image, constants)


def _forward(
    function: Callable[..., tuple[Array, Any]], image: Array, constants: Any
) -> tuple[tuple[Array, Any], Array]:
    return jax.value_and_grad(function, has_aux=True)(image, constants)


def _backward(
    function: Callable[..., tuple[Array, Any]], gradient: Array, upstream: tuple[Array, Any]
) -> tuple[Array, None]:
    del function
    return upstream[0] * gradient, None


image_loss.defvjp(_forward, _backward)

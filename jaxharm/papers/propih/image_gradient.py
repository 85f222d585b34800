"""A loss that takes its gradient towards each image at once, so that nothing of it is kept.

Differentiating a sum of losses through a large network keeps the activations of all passes until
the backward pass, or computes each pass twice. A loss is a number: its gradient towards the image
can be computed right after it, and only that, as large as the image, waits for the backward pass.
The images are taken one after another, in a loop: the memory is that of one pass.
"""

import functools
from collections.abc import Callable

import jax

from jaxharm.interfaces import Array, PyTree

# (image, what belongs to it, constants) -> (loss, further terms)
Loss = Callable[[Array, PyTree, PyTree], tuple[Array, PyTree]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def image_losses(
    function: Loss, images: Array, own: PyTree, constants: PyTree
) -> tuple[Array, PyTree]:
    """`function` of every image, differentiable once in the images.

    Args:
        function: hashable, holds no arrays; returns a scalar and further terms.
        images: f32[n,...]; each gets the gradient of its scalar.
        own: arrays [n,...], an entry per image; no gradient.
        constants: arrays that all images share; no gradient.

    Returns:
        The scalars f32[n], and the terms with a leading axis n, which pass no gradient on.
    """
    return jax.lax.map(lambda given: function(given[0], given[1], constants), (images, own))


def _forward(
    function: Loss, images: Array, own: PyTree, constants: PyTree
) -> tuple[tuple[Array, PyTree], Array]:
    gradient: Callable[..., PyTree] = jax.value_and_grad(function, has_aux=True)
    return jax.lax.map(lambda given: gradient(given[0], given[1], constants), (images, own))


def _backward(
    function: Loss, gradients: Array, upstream: tuple[Array, PyTree]
) -> tuple[Array, None, None]:
    del function
    values = upstream[0]
    return values.reshape(-1, *(1,) * (gradients.ndim - 1)) * gradients, None, None


image_losses.defvjp(_forward, _backward)

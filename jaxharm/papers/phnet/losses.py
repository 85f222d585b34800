"""PHNet's own loss terms: image gradients, the inverse of PSNR, and colors far from gray."""

import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.losses.reduction import Ratio


def gradient_difference(prediction: Array, target: Array, mask: Array) -> Ratio:
    """Half the absolute differences of the forward differences of the masked images.

    The last row and column have no forward difference and count as zeros in the mean.

    Args:
        prediction, target: f32[b,h,w,c] in [0,1].
        mask: f32[b,h,w,1].

    Returns:
        0.5 * (sum |dx(target*m) - dx(prediction*m)| + the same along y), and the number of entries.

    Source: docs/papers/phnet.md, "Losses" (gradient).
    """
    # Differences are linear, so one difference image serves both terms.
    difference = (target - prediction) * mask
    along_x = jnp.sum(jnp.abs(jnp.diff(difference, axis=2)))
    along_y = jnp.sum(jnp.abs(jnp.diff(difference, axis=1)))
    return 0.5 * (along_x + along_y), jnp.float32(prediction.size)


def psnr_loss(mean_squared_error: Array) -> Array:
    """100 / (1e-7 + PSNR) of the batch's mean squared error on the [0,1] scale.

    The error is clamped at 1e-12, where the loss is 0.83 and its gradient 0; the paper's code is
    undefined at 0.

    Source: docs/papers/phnet.md, "Losses" (PSNR).
    """
    clamped = jnp.maximum(mean_squared_error, 1e-12)
    return 100.0 / (1e-7 - 10.0 * jnp.log10(clamped))


def gray_world_error(images: Array) -> Ratio:
    """How far the mean colors of images are from gray, summed over them, and their number.

    Per image sqrt(Drg^2 + Drb^2 + Dgb^2) with Drg = (mean red - mean green)^2 and so on. The
    gradient of a gray image is 0.

    Args:
        images: f32[b,h,w,3] in [0,1].

    Source: docs/papers/phnet.md, "Losses" (color).
    """
    mean = jnp.mean(images, (1, 2))
    pairs = jnp.square(mean - jnp.roll(mean, 1, axis=-1))
    square = jnp.sum(jnp.square(pairs), -1)
    # Two selects: with one, the infinite slope of the root at 0 would reach the gradient as NaN.
    positive = square > 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)
    return jnp.sum(root), jnp.float32(len(images))

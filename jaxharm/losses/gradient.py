"""Losses on image gradients."""

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

    Source: PHNet, specs/phnet 2 (Gradient).
    """
    difference = (target - prediction) * mask
    along_x = jnp.sum(jnp.abs(jnp.diff(difference, axis=2)))
    along_y = jnp.sum(jnp.abs(jnp.diff(difference, axis=1)))
    return 0.5 * (along_x + along_y), jnp.float32(prediction.size)

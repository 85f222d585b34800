"""The definition in jax.numpy: scaled inputs, one convolution, scaled outputs."""

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Array
from jaxharm.ops.conv import conv2d


def modulated_conv(x: Array, kernel: Array, scales: Array, demodulate: bool, eps: float) -> Array:
    """See `api.modulated_conv`."""
    # The kernel of an image differs from the shared one by a factor per input and per output
    # channel. Scaling the channels instead, all images share one convolution.
    pads = [((size - 1) // 2, (size - 1) // 2) for size in kernel.shape[:2]]
    wide = scales.astype(jnp.float32)
    y = conv2d(
        x * wide[:, None, None].astype(x.dtype), kernel.astype(x.dtype), 1, (pads[0], pads[1])
    )
    if not demodulate:
        return y
    # Per image and output channel, the squared length of the modulated kernel.
    squares = jnp.sum(jnp.square(kernel.astype(jnp.float32)), (0, 1))
    lengths = jnp.dot(jnp.square(wide), squares, precision=jax.lax.Precision.HIGHEST)
    return y * jax.lax.rsqrt(lengths + eps)[:, None, None].astype(y.dtype)

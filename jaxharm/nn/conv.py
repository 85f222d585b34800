"""Convolutions with the padding and the initialisation of the official implementations."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxharm.nn.init import he_normal_fan_out


def he_conv(
    features: int, size: int, stride: int = 1, *, name: str, dtype: Any = jnp.float32
) -> nn.Conv:
    """A size x size convolution without bias, padding (size-1)/2, He-normal by outgoing fan."""
    pad = (size - 1) // 2
    return nn.Conv(
        features,
        (size, size),
        (stride, stride),
        ((pad, pad), (pad, pad)),
        use_bias=False,
        dtype=dtype,
        kernel_init=he_normal_fan_out(size, features),
        name=name,
    )

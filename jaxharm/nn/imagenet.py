"""The color normalization that networks trained on ImageNet expect."""

import jax.numpy as jnp
import numpy as np

from jaxharm.interfaces import Array

MEAN = np.array([[[[0.485, 0.456, 0.406]]]], np.float32)
STD = np.array([[[[0.229, 0.224, 0.225]]]], np.float32)


def normalize(image: Array) -> Array:
    """f32[b,h,w,3] in [0,1] -> (image - mean) / std per channel."""
    return (image - jnp.asarray(MEAN)) / jnp.asarray(STD)


def denormalize(image: Array) -> Array:
    """The inverse of `normalize`; nothing is clipped."""
    return image * jnp.asarray(STD) + jnp.asarray(MEAN)

"""Small models with random weights for inference, and images that are not of their size."""

import functools

import numpy as np
from support.random_variables import random_weights

from jaxharm import registry
from jaxharm.inference import Harmonizer


@functools.cache
def tiny(name):
    """The model of `name` at its smallest sizes, and its random variables."""
    model = registry.get(name).model()(config=registry.model_config(name).shrunk())
    return model, random_weights(name, model.config)


@functools.cache
def harmonizer(name, size=None):
    """A `Harmonizer` of `tiny`."""
    model, variables = tiny(name)
    return Harmonizer(model, variables=variables, size=size)


def example(name, height, width, dtype=np.uint8, channels=3, seed=0):
    """Composite, mask with a soft edge, and the background if the model wants one."""
    random = np.random.default_rng(seed)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    composite = (random.random((height, width, channels)) * top).astype(dtype)
    rows = np.clip(np.minimum(np.arange(height) - 9, height - 12 - np.arange(height)) / 4, 0, 1)
    columns = np.clip(np.minimum(np.arange(width) - 7, width - 9 - np.arange(width)) / 4, 0, 1)
    mask = (rows[:, None] * columns).astype(np.float32)
    background = composite[..., :3] if registry.get(name).needs_background else None
    return composite, mask, background

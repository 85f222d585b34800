"""The values that cross module borders: batches, outputs, training state, metrics."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
Params = Mapping[str, Any]
# One batch of device arrays; keys, dtypes and ranges are those of jaxharm/schema.py.
Batch = Mapping[str, Array]
# name -> (sum, count), both already reduced over the data axis: means are formed by the reader.
Metrics = dict[str, tuple[Array, Array]]


class Output(struct.PyTreeNode):
    """What every model returns.

    Attributes:
        image: f32[b,h,w,3] in [0,1], the final result, already blended with the background.
        aux: everything a loss, a test or a figure needs; keys per model as in the README.
    """

    image: Array
    aux: dict[str, Any] = struct.field(default_factory=dict)


class TrainState(struct.PyTreeNode):
    """All that an optimisation step reads and writes.

    Attributes:
        step: i32[], optimisation steps done.
        key: typed PRNG key of the run; steps use `fold_in(key, step)`, never a split.
        params: network name -> its parameters ("model", or "generator", "discriminator", ...).
        collections: network name -> its other variable collections (batch_stats, spectral, ...).
        opt_state: network name -> optimiser state.
        ema: network name -> moving average of its variables (params and collections); empty where
            the run keeps none.
    """

    step: Array
    key: Array
    params: dict[str, Params]
    collections: dict[str, Params]
    opt_state: dict[str, Any]
    ema: dict[str, Params]


def to_float(images: Array) -> Array:
    """Images u8 in 0..255 or float in [0,1], any shape -> f32 in [0,1]."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    return images.astype(jnp.float32)

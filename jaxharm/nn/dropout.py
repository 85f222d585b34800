"""Dropout whose pattern does not depend on how the batch is spread over devices."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import Array


class Dropout(nn.Module):
    """Zeroes elements with probability `rate` in training and scales the others by 1/(1-rate).

    The "dropout" key must be the same on all devices of `axis_name`.

    Attributes:
        rate: probability of zeroing, in [0, 1).
        axis_name: mapped axis over which the batch is spread in equal shards, or None.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[b,...] -> the same shape and dtype."""
        if not train or self.rate == 0.0 or self.is_initializing():
            return x
        first = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name) * x.shape[0]
        # A key for each sample of the global batch: one key for the local batch would give every
        # device the same pattern, and a pattern that changes with the number of devices.
        keys = jax.vmap(jax.random.fold_in, (None, 0))(
            self.make_rng("dropout"), first + jnp.arange(x.shape[0])
        )
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:]))(keys)
        return jnp.where(keep, x / (1 - self.rate), jnp.zeros_like(x))

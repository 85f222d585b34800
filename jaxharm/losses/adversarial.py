"""The loss on a discriminator's logits."""

import jax.numpy as jnp
import optax

from jaxharm.interfaces import Array
from jaxharm.losses.reduction import Ratio


def logistic_error(logits: Array, labels: Array | float) -> Ratio:
    """Binary cross entropy of logits, as the sum over all of them and their number.

    Each term is max(l,0) - l*t + log(1 + exp(-|l|)) for logit l and label t: no overflow.

    Args:
        logits: f32[...], high for real.
        labels: f32 of the same shape, or one for all: 1 = real, 0 = fake, in between for soft edges.
    """
    labels = jnp.broadcast_to(jnp.asarray(labels, jnp.float32), logits.shape)
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, labels)), jnp.float32(logits.size)

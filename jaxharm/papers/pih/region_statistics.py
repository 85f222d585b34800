"""Color statistics of the foreground and of its surroundings, and a small net that reads them.

Ours, for small data: a convolutional net needs tens of thousands of photographs to learn to
measure what these few numbers say; see `PIHConfig.region_statistics`.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import Array
from jaxharm.nn.dropout import Dropout
from jaxharm.nn.norm import BatchNorm
from jaxharm.ops import masked_moments

_SIDE = 64  # images are averaged down to this before quantiles are taken: sorting is the cost
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WIDTH = 256


def region_statistics(image: Array, mask: Array) -> Array:
    """Mean, deviation, quantiles and chroma of two regions, and the foreground's share.

    Args:
        image: f32[b,h,w,3] in [0,1].
        mask: f32[b,h,w,1] in [0,1]; 0.5 or more counts as foreground.

    Returns:
        f32[b,45]: per region (foreground, then the rest) 3 means, 3 standard deviations, 5
        quantiles of 3 channels and the mean of max - min over the channels; then the foreground's
        share. An empty region gives zeros. No gradient passes.
    """
    image, mask = jax.lax.stop_gradient((image, mask))
    if max(image.shape[1:3]) > _SIDE:
        image, mask = (
            jax.image.resize(x, (x.shape[0], _SIDE, _SIDE, x.shape[-1]), "linear", antialias=True)
            for x in (image, mask)
        )
    foreground = (mask >= 0.5).astype(jnp.float32)
    parts = []
    for region in (foreground, 1 - foreground):
        mean, deviation = masked_moments(image, region)
        chroma, _ = masked_moments(
            jnp.max(image, -1, keepdims=True) - jnp.min(image, -1, keepdims=True), region
        )
        parts += [mean, deviation, _quantiles(image, region), chroma]
    parts.append(jnp.mean(foreground, (1, 2), keepdims=True))
    return jnp.concatenate([part.reshape(len(image), -1) for part in parts], -1)


class StatisticsNet(nn.Module):
    """Two hidden layers over standardized `region_statistics`; its output starts at zero.

    Attributes:
        features: number of outputs.
        dropout: rate after each hidden layer.
        axis_name: mapped axis of the batch statistics and of the dropout, or None.
    """

    features: int
    dropout: float = 0.3
    axis_name: str | None = None

    @nn.compact
    def __call__(self, statistics: Array, *, train: bool) -> Array:
        """f32[b,n] -> f32[b,features]."""
        # Means, deviations and shares have different scales: batch norm brings them to one.
        # The name is part of saved weights, so it keeps its first spelling.
        x = BatchNorm(self.axis_name, name="standardise")(statistics, train=train)
        for layer in ("hidden1", "hidden2"):
            x = nn.hard_swish(nn.Dense(_WIDTH, name=layer)(x))
            x = Dropout(self.dropout, self.axis_name, name=f"{layer}_dropout")(x, train=train)
        # Zero at first: the head starts as no change to the curve net.
        return nn.Dense(self.features, kernel_init=nn.initializers.zeros, name="out")(x)


def _quantiles(image: Array, region: Array) -> Array:
    """f32[b,5,3]: quantiles of each channel over a region of zeros and ones; zeros if it is empty."""
    # Pixels outside sort to the end, whatever their number: shapes stay fixed under jit.
    pixels = jnp.where(region > 0, image, jnp.inf).reshape(image.shape[0], -1, image.shape[-1])
    ordered = jnp.sort(pixels, axis=1)
    count = jnp.sum(region, (1, 2))  # f32[b,1]
    position = jnp.array(_QUANTILES)[None, :] * jnp.maximum(count - 1, 0)
    index = jnp.round(position).astype(jnp.int32)[..., None]
    values = jnp.take_along_axis(ordered, jnp.broadcast_to(index, (*index.shape[:2], 3)), axis=1)
    return jnp.where(jnp.isfinite(values), values, 0.0)

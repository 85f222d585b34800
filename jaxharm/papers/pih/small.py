"""Predicts PIH's color curves from color statistics alone: a small network for few photographs.

Ours, built on PIH's rendering (model.py): no image is seen by a convolution, and there is no shading
map. What a network can learn of color relations from a few hundred photographs is in these numbers
(`wide_statistics`); what more it sees of them it learns by heart.

1. statistics of the foreground, its surroundings and a ring around it;
2. two dense layers -> per channel the coefficients of five polynomials, and one confidence;
3. curve(x) = x + confidence * polynomials(x), as knots that PIH's renderer takes.

Inputs and outputs are in [0,1], sRGB-encoded. 116,084 parameters. Source: docs/papers/pih.md, "Network".
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.fields import Count, Decay, check_fields
from jaxharm.interfaces import Array, Output
from jaxharm.nn.dropout import Dropout
from jaxharm.nn.norm import BatchNorm
from jaxharm.ops import apply_curves
from jaxharm.papers.pih.model import seen_at
from jaxharm.papers.pih.wide_statistics import wide_statistics

_DEGREE = 5  # polynomials of a curve: of the degrees 0 to 4
_STEP = 0.1  # brings the network's outputs to the size of a change of color
_DOUBT = -1.0  # logit of the confidence at the start: about a quarter
_OUTLIER = 4.0  # deviations from the mean beyond which a statistic says nothing more


@dataclass(frozen=True)
class PIHSmallConfig:
    """Options of the network.

    Attributes:
        width: of the two hidden layers.
        dropout: rate after each of them.
        knots: of each curve. Curves are flat beyond the outer knots, half a knot from black and
            white: with 256 that is half a level of 8 bits.
        predict_size: side to which the network's inputs are resized.
    """

    width: Count = 256
    dropout: Decay = 0.2
    knots: Count = 256
    predict_size: Count = 64

    masking: ClassVar[bool] = False  # no shading stage: PIH's runner asks
    single_alpha: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def tiny(cls) -> Self:
        """The same layers with few features."""
        return cls().shrunk()

    def shrunk(self) -> Self:
        """The same choices with few features."""
        return replace(self, width=8)

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this."""
        return 1

    @property
    def min_size(self) -> int:
        """The smallest side."""
        return 1

    @property
    def default_size(self) -> int:
        """The side the network is meant for."""
        return self.predict_size


class PIHSmall(nn.Module):
    """Harmonizes by curves from color statistics.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch statistics and of the dropout, or None.
        dtype: ignored: the network is small, and its numbers are float32.
    """

    config: PIHSmallConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, composite: Array, mask: Array, background: Array | None = None, *, train: bool = False
    ) -> Output:
        """Harmonizes the foreground.

        Args:
            composite: f32[b,h,w,3] in [0,1].
            mask: f32[b,h,w,1] in [0,1], 1 = foreground.
            background: what soft edges are blended over; None: the composite.
            train: batch statistics and dropout of training.

        Returns:
            Output; aux: curves f32[b,3,knots], confidence f32[b], raw f32[b,h,w,3] (curves applied
            to the whole composite).
        """
        config = self.config
        statistics = wide_statistics(*(seen_at(config.predict_size, x) for x in (composite, mask)))
        # Means, deviations and shares have different scales: batch norm brings them to one.
        x = BatchNorm(self.axis_name, name="standardize")(statistics, train=train)
        x = jnp.clip(x, -_OUTLIER, _OUTLIER)
        for layer in ("hidden1", "hidden2"):
            x = nn.silu(nn.Dense(config.width, name=layer)(x))
            x = Dropout(config.dropout, self.axis_name, name=f"{layer}_dropout")(x, train=train)
        # Zero at first: an untrained model changes nothing.
        x = nn.Dense(3 * _DEGREE + 1, kernel_init=nn.initializers.zeros, name="out")(x)
        confidence = nn.sigmoid(x[:, -1] + _DOUBT)
        coefficients = _STEP * confidence[:, None, None] * x[:, :-1].reshape(-1, 3, _DEGREE)
        positions = (np.arange(config.knots, dtype=np.float32) + 0.5) / config.knots
        change = coefficients @ _polynomials(positions)
        curves = jnp.clip(positions.reshape(1, 1, -1) + change, 0.0, 1.0)
        behind = composite if background is None else background
        image = apply_curves(composite, curves, mask=mask, background=behind)
        # Without a mask: what the model would make of every pixel. XLA drops it where unused.
        raw = apply_curves(composite, curves)
        return Output(image=image, aux={"curves": curves, "confidence": confidence, "raw": raw})


def _polynomials(x: np.ndarray) -> np.ndarray:
    """Legendre polynomials of the degrees 0 to 4 on [0,1]: f32[n] -> f32[5,n]."""
    return np.polynomial.legendre.legvander(2 * x - 1, _DEGREE - 1).T.astype(np.float32)

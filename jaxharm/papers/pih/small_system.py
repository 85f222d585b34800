"""Training of the small model: squared error, and a price on making an image worse.

Squared error alone makes a network guess: where it knows little, its mean guess still makes a quarter
of the images worse. The price teaches it to leave such images as they are.

Source: ours; docs/papers/pih.md, "Network".
"""

from dataclasses import dataclass

import jax.numpy as jnp

from jaxharm.fields import NonNegative, Positive, check_fields
from jaxharm.interfaces import Array, DeviceBatch, Metrics, NoExtras, Output, StepContext
from jaxharm.losses.reduction import reduce_ratio
from jaxharm.papers.pih.small import PIHSmall
from jaxharm.schema import present
from jaxharm.training.supervised import SupervisedSystem

_LEVELS = 255.0**2  # the errors below are on the 0-255 scale, as fMSE is
_UNIT = 1000.0  # brings fMSE to about one
_WORST = 1.0  # twice the composite's error is as bad as it gets: few images must not decide all


@dataclass(frozen=True)
class PIHSmallObjective:
    """Loss weights and choices.

    Attributes:
        harm_weight: of the error's relative growth, against fMSE / 1000.
        unharmed: fMSE that is added to the composite's before growth is measured against it: below
            about 7 levels nobody sees a change.
        min_area: pixels that the foreground counts as at least.
    """

    harm_weight: NonNegative = 2.5
    unharmed: Positive = 100.0
    min_area: Positive = 8.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class PIHSmallSystem(SupervisedSystem[PIHSmallObjective, NoExtras]):
    """The small model under `PIHSmallObjective`."""

    MODEL = PIHSmall

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: NoExtras
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the terms are "fmse_loss" and "harm_loss"."""
        objective, target = self.objective, present(batch.target, "target")
        error = self._foreground_error(output.image, target, batch.mask)
        before = self._foreground_error(batch.composite, target, batch.mask)
        growth = (error - before) / (before + objective.unharmed)
        count = jnp.float32(len(error))
        terms = {
            "fmse_loss": (jnp.sum(error), count),
            "harm_loss": (jnp.sum(jnp.clip(growth, 0.0, _WORST)), count),
        }
        terms = {name: reduce_ratio(ratio, ctx.axis_name) for name, ratio in terms.items()}
        fmse, harm = (total / images for total, images in terms.values())
        return fmse / _UNIT + objective.harm_weight * harm, terms

    def _foreground_error(self, image: Array, target: Array, mask: Array) -> Array:
        """Mean squared error over the foreground on the 0-255 scale, f32[b]."""
        square = jnp.sum(jnp.square(image - target) * mask, (1, 2, 3))
        area = jnp.maximum(jnp.sum(mask, (1, 2, 3)), self.objective.min_area)
        return _LEVELS * square / (image.shape[-1] * area)

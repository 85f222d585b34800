"""How the added color is learned."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxharm.papers.tinter.model import Tinter

from jaxharm.interfaces import Output
from jaxharm.training.supervised import SupervisedSystem


@dataclass(frozen=True)
class TinterObjective:
    """The loss's weights.

    Attributes:
        weight: of the mean squared error.
    """

    weight: float = 1.0


class TinterSystem(SupervisedSystem):
    """Mean squared error of the object."""

    MODEL = Tinter

    def loss(self, ctx: Any, output: Output, batch: Any, extras: Any) -> Any:
        """The squared error over the object's pixels of all devices."""
        error = jnp.sum(batch.mask * jnp.square(output.image - batch.target))
        area = jnp.sum(batch.mask)
        if ctx.axis_name is not None:
            error, area = jax.lax.psum((error, area), ctx.axis_name)
        return self.config.objective.weight * error / area, {"fg_error": (error, area)}

"""The reconstruction network that GiftNet learns relations from: a run of its own.

iSSAM's U-Net without image fusion sees the real photograph and returns it. With fusion, copying
the input would be a perfect solution, and the features would learn nothing.

Source: specs/giftnet 3.1. What the paper leaves open: the loss (`distance`), skip connections and
mask of the network (model.skips, model.use_mask).
"""

from dataclasses import dataclass
from typing import Literal

from jaxharm.nn.imagenet import normalize
from jaxharm.objectives.pixel import absolute_error, squared_error
from jaxharm.objectives.reduction import reduce_ratio
from jaxharm.systems.supervised import SupervisedSystem
from jaxharm.types import Array, Batch, Metrics, Output

TEACHER = "giftnet_teacher"  # registry name


@dataclass(frozen=True)
class TeacherObjective:
    """Choices of the loss.

    Attributes:
        distance: mean squared or absolute error over all pixels, in normalised colours.
    """

    distance: Literal["l2", "l1"] = "l2"


@dataclass(frozen=True)
class TeacherSystem(SupervisedSystem):
    """Reconstruction of real photographs: what a batch calls `composite` is not looked at."""

    def prepare(self, batch: Batch) -> dict[str, Array]:
        """See `SupervisedSystem.prepare`; the network's input is the target."""
        prepared = super().prepare(batch)
        return {**prepared, "composite": prepared["target"]}

    def loss(
        self, output: Output, batch: dict[str, Array], *, axis_name: str | None
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the term is named "reconstruction_loss"."""
        error = squared_error if self.config.objective.distance == "l2" else absolute_error
        ratio = error(normalize(output.aux["raw"]), normalize(batch["target"]))
        ratio = reduce_ratio(ratio, axis_name)
        return ratio[0] / ratio[1], {"reconstruction_loss": ratio}

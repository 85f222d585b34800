"""Training of GKNet: a pixel loss on the foreground, nothing adversarial or perceptual.

Source: docs/papers/gknet.md, "Losses". The foreground's mean squared error is the paper's; its normalization, and
the alternatives here, are not known.
"""

from dataclasses import dataclass
from typing import Literal

from jaxharm.fields import NonNegative, Positive, check_fields
from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Metrics,
    NoExtras,
    Output,
    StepContext,
    TrainState,
)
from jaxharm.losses.pixel import absolute_error, foreground_normalized_error, squared_error
from jaxharm.losses.reduction import reduce_ratio
from jaxharm.nn.imagenet import normalize
from jaxharm.papers.gknet.figures import explain
from jaxharm.papers.gknet.model import GKNet, foreground
from jaxharm.schema import present
from jaxharm.training.supervised import SupervisedSystem


@dataclass(frozen=True)
class GKNetObjective:
    """Choices of the loss.

    Attributes:
        loss: squared error over the foreground's size, or mean squared or absolute error of all
            pixels; of the blended image, or the raw one where model.blend_train is off.
        loss_space: colors in [0,1], or normalized as for networks of ImageNet.
        a_min: pixels that the foreground counts as at least ("fn_mse").
        weight: factor of the loss.
    """

    loss: Literal["fn_mse", "mse", "l1"] = "fn_mse"
    loss_space: Literal["unit", "imagenet"] = "unit"
    a_min: Positive = 100.0
    weight: NonNegative = 1.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class GKNetSystem(SupervisedSystem[GKNetObjective, NoExtras]):
    """GKNet under `GKNetObjective`."""

    MODEL = GKNet

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: NoExtras
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the term is named "<loss>_loss"."""
        objective = self.objective
        images = output.image, present(batch.target, "target")
        if objective.loss_space == "imagenet":
            images = normalize(images[0]), normalize(images[1])
        if objective.loss == "fn_mse":
            mask = foreground(self.config.model, batch.mask)
            ratio = foreground_normalized_error(*images, mask, min_area=objective.a_min)
        else:
            error = squared_error if objective.loss == "mse" else absolute_error
            ratio = error(*images)
        ratio = reduce_ratio(ratio, ctx.axis_name)
        return objective.weight * ratio[0] / ratio[1], {f"{objective.loss}_loss": ratio}

    def figures(self, state: TrainState, batch: DeviceBatch) -> dict[str, Array]:
        """See `interfaces.System` and figures.py."""
        inputs = self.prepare(batch)
        return explain(self.module(), self.config.model, self.variables(state), inputs)

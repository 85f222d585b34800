"""Training of iSSAM: the foreground-normalized squared error.

Source: docs/papers/issam.md, "Losses".
"""

from dataclasses import dataclass

from jaxharm.fields import Positive, check_fields
from jaxharm.interfaces import Array, DeviceBatch, Metrics, NoExtras, Output, StepContext
from jaxharm.losses.pixel import foreground_normalized_error
from jaxharm.losses.reduction import reduce_ratio
from jaxharm.nn.imagenet import normalize
from jaxharm.papers.issam.model import Issam
from jaxharm.schema import present
from jaxharm.training.supervised import SupervisedSystem


@dataclass(frozen=True)
class IssamObjective:
    """Choices of the loss; defaults are the release's.

    Attributes:
        min_area: pixels that the foreground counts as at least.
    """

    min_area: Positive = 1000.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class IssamSystem(SupervisedSystem[IssamObjective, NoExtras]):
    """iSSAM under `IssamObjective`."""

    MODEL = Issam

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: NoExtras
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the term is named "fnmse_loss"."""
        ratio = pixel_error(output, batch, self.objective.min_area)
        ratio = reduce_ratio(ratio, ctx.axis_name)
        return ratio[0] / ratio[1], {"fnmse_loss": ratio}


def pixel_error(output: Output, batch: DeviceBatch, min_area: float) -> tuple[Array, Array]:
    """`foreground_normalized_error` of the network's image, in normalized colors."""
    images = normalize(output.aux["raw"]), normalize(present(batch.target, "target"))
    return foreground_normalized_error(*images, batch.mask, min_area=min_area)

"""Training of PIH on pairs: the supervised stream.

Source: specs/pih 5 (stream 1, step 4 without the adversarial term).
"""

from dataclasses import dataclass
from typing import Literal

from jaxharm.nn.plate import fill_plate
from jaxharm.objectives.pixel import (
    absolute_error,
    foreground_absolute_error,
    foreground_normalized_error,
)
from jaxharm.objectives.reduction import reduce_ratio
from jaxharm.systems.supervised import SupervisedSystem
from jaxharm.types import Array, Batch, Metrics, Output


@dataclass(frozen=True)
class PIHObjective:
    """Loss weights and choices; defaults are the paper's.

    Attributes:
        recon_weight: weight of the reconstruction term.
        reconstruction: "l1": mean |O-R| over every pixel of the image, as in the paper;
            "l1_foreground": the same over the foreground only, per image;
            "fnmse": squared error per foreground pixel, per image.
        min_area: pixels that the foreground counts as at least, in the last two.
    """

    recon_weight: float = 0.92
    reconstruction: Literal["l1", "l1_foreground", "fnmse"] = "l1"
    min_area: float = 100.0


@dataclass(frozen=True)
class PIHSystem(SupervisedSystem):
    """PIH under `PIHObjective`. Batches without a background plate get a filled one."""

    def prepare(self, batch: Batch) -> dict[str, Array]:
        """See `SupervisedSystem.prepare`; adds `background` where it is missing."""
        prepared = super().prepare(batch)
        if "background" not in prepared:
            prepared["background"] = fill_plate(prepared["composite"], prepared["mask"])
        return prepared

    def loss(
        self, output: Output, batch: dict[str, Array], *, axis_name: str | None
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the term is named "l1_loss" and so on."""
        objective = self.config.objective
        image, target, mask = output.image, batch["target"], batch["mask"]
        if objective.reconstruction == "l1":
            ratio = absolute_error(image, target)
        else:
            errors = {
                "l1_foreground": foreground_absolute_error,
                "fnmse": foreground_normalized_error,
            }
            error = errors[objective.reconstruction]
            ratio = error(image, target, mask, min_area=objective.min_area)
        ratio = reduce_ratio(ratio, axis_name)
        total = objective.recon_weight * ratio[0] / ratio[1]
        return total, {f"{objective.reconstruction}_loss": ratio}

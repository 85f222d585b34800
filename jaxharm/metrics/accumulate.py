"""Exact means over many images: sums and counts, never means of means."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jaxharm.errors import InputError


@dataclass(frozen=True)
class Mean:
    """A mean in the making.

    Attributes:
        total: correctly rounded sum of the defined values.
        count: how many there are.
        undefined: how many values were NaN or infinite and are left out.
    """

    total: float
    count: int
    undefined: int

    @property
    def value(self) -> float:
        """The mean; NaN where no value is defined."""
        return self.total / self.count if self.count else math.nan


def mean_of(values: Iterable[float], valid: Sequence[float] | None = None) -> Mean:
    """Sums per-image values; the result does not depend on their order.

    Args:
        values: one value per image; NaN or infinite ones count as undefined.
        valid: 0 marks padding, which leaves no trace; None: every value is an image.
    """
    values = [float(v) for v in values]
    if valid is not None:
        values = [v for v, keep in zip(values, valid, strict=True) if keep > 0]
    defined = [v for v in values if math.isfinite(v)]
    return Mean(math.fsum(defined), len(defined), len(values) - len(defined))


def improvement_share(fmse: Iterable[float], baseline: Iterable[float]) -> Mean:
    """Share of images whose fMSE is below the untouched composite's; undefined pairs are left out."""
    pairs = zip(fmse, baseline, strict=True)
    return mean_of(math.nan if math.isnan(a + b) else float(a < b) for a, b in pairs)


def require_finite(finite: bool, image: str) -> None:
    """InputError naming the image whose prediction holds NaN or infinite values."""
    if not finite:
        raise InputError(
            f"the prediction for image {image!r} holds NaN or infinite values; "
            "the checkpoint may come from a run that diverged"
        )

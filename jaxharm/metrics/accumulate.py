"""Exact means over many images, from sums and counts."""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from jaxharm.errors import InputError

HARM = 0.1  # relative growth of an error beyond which an image was made worse


@dataclass(frozen=True)
class Mean:
    """The sum and the count of a mean.

    Attributes:
        total: correctly rounded sum of the defined values.
        count: how many there are.
        undefined: how many values were NaN or infinite; they are left out.
    """

    total: float
    count: int
    undefined: int

    @property
    def value(self) -> float:
        """The mean; NaN where no value is defined."""
        return self.total / self.count if self.count else math.nan


def mean_of(values: Iterable[float], valid: Sequence[float] | None = None) -> Mean:
    """Averages per-image values; the result does not depend on their order.

    Args:
        values: one value per image; NaN or infinite ones count as undefined.
        valid: 0 marks padding, which does not count at all; None: every value is an image.
    """
    values = [float(v) for v in values]
    if valid is not None:
        values = [v for v, keep in zip(values, valid, strict=True) if keep > 0]
    defined = [v for v in values if math.isfinite(v)]
    # `fsum` rounds once at the end, so the order in which processes deliver images does not show.
    return Mean(math.fsum(defined), len(defined), len(values) - len(defined))


def improvement_share(errors: Iterable[float], baseline: Iterable[float]) -> Mean:
    """Share of images whose error is below that of the unchanged composite."""
    return _share(operator.lt, errors, baseline)


def harm_share(errors: Iterable[float], baseline: Iterable[float]) -> Mean:
    """Share of images whose error is more than `HARM` above that of the unchanged composite.

    Errors are not negative; where the composite is without error, any error is harm.
    """
    return _share(lambda error, before: error > (1 + HARM) * before, errors, baseline)


def _share(
    holds: Callable[[float, float], bool], errors: Iterable[float], baseline: Iterable[float]
) -> Mean:
    # Where one of both is NaN the pair is undefined and does not count.
    pairs = zip(errors, baseline, strict=True)
    return mean_of(math.nan if math.isnan(a + b) else float(holds(a, b)) for a, b in pairs)


def require_finite(finite: bool, image: str) -> None:
    """Raises InputError, naming the image, if its prediction held NaN or infinite values."""
    if not finite:
        raise InputError(
            f"the prediction for image {image!r} holds NaN or infinite values; "
            "the checkpoint may come from a run that diverged"
        )

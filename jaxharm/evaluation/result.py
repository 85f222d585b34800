"""What an evaluation gives: a row for every image, and their means."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from jaxharm.evaluation.columns import REFERENCE
from jaxharm.evaluation.summary import Means, summarize
from jaxharm.measures import Measures, Values
from jaxharm.metrics.protocols import Protocol as MetricProtocol
from jaxharm.schema import HostArray


@dataclass(frozen=True)
class Row:
    """The measurements of one image.

    Attributes:
        composite_id: name of the composite.
        subset: name of its sub-dataset.
        ratio: share of foreground pixels at the evaluation resolution.
        model: metric -> value of the prediction; NaN where undefined.
        baseline: metric -> value of the untouched composite.
        others: further methods -> metric -> value, where there are any.
    """

    composite_id: str
    subset: str
    ratio: float
    model: dict[str, float]
    baseline: dict[str, float]
    others: Values = dataclasses.field(default_factory=dict)

    def values(self, measures: Measures) -> Values:
        """The values of every method of `measures`, in its order."""
        found = {**self.others, measures.model: self.model, measures.baseline: self.baseline}
        return {method: found[method] for method in measures.methods}

    def with_values(self, values: Values, measures: Measures) -> "Row":
        """The row with other values; the inverse of `values`."""
        own = (measures.model, measures.baseline)
        others = {method: of for method, of in values.items() if method not in own}
        model, baseline = (values[method] for method in own)
        return dataclasses.replace(self, model=model, baseline=baseline, others=others)


@dataclass(frozen=True)
class Item:
    """One measured image and its pixels, as observers see it.

    Attributes:
        row: its measurements.
        composite: u8[h,w,3].
        mask: f32[h,w,1].
        target: u8[h,w,3]; None where there is no true picture.
        prediction: f32[h,w,3] in [0,1], as the model gave it.
        figures: name -> f32[h,w,3] or f32[h,w,1] in [0,1], what explains it; see `System.figures`.
        aspect: width / height of the stored picture, which may have been squashed; None: as it is.
    """

    row: Row
    composite: HostArray
    mask: HostArray
    target: HostArray | None
    prediction: HostArray
    figures: Mapping[str, HostArray] = dataclasses.field(default_factory=dict)
    aspect: float | None = None


class Observer(Protocol):
    """Sees every item of this process, in the order of the batches."""

    def observe(self, item: Item) -> None:
        """Called once per image."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """The outcome, the same on every process.

    Attributes:
        protocol: under which everything was measured.
        rows: one per image of the data set, sorted by sub-dataset and name.
        measures: what was measured.
        notes: further sentences for readers.
    """

    protocol: MetricProtocol
    rows: tuple[Row, ...]
    measures: Measures = REFERENCE
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> dict[str, Means]:
        """Sub-dataset or "All" -> means, counts and bins of the model."""
        return self.methods[self.measures.model]

    @property
    def baseline(self) -> dict[str, Means]:
        """The same of the untouched composites."""
        return self.methods[self.measures.baseline]

    @functools.cached_property
    def methods(self) -> dict[str, dict[str, Means]]:
        """The same of every method, in the order of the tables."""
        return {
            method: summarize(self.rows, method, self.measures) for method in self.measures.methods
        }

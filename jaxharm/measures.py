"""What an evaluation measures: the columns of its tables, and results that have no true picture.

Most systems are measured against a real photograph (`jaxharm.evaluation.columns.REFERENCE`). Where
there is none, a system brings a `Judge` of its own (`jaxharm.interfaces.System.judge`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from jaxharm.schema import HostArray, HostBatch

# method -> column -> value of one image; NaN where the value is not defined.
Values: TypeAlias = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Column:
    """One measure, as tables show it.

    Attributes:
        title: heading.
        decimals: how many are shown.
        lower_is_better: whether a smaller value is the better one.
        headline: whether it sums a result up: those are also given by size of the foreground and
            compared between runs image by image.
    """

    title: str
    decimals: int
    lower_is_better: bool = True
    headline: bool = False


@dataclass(frozen=True)
class Measures:
    """What is measured, and of which results.

    Attributes:
        columns: name -> column, in the order of the tables.
        decides: name of the column by which a result counts as improved, and a gallery sorts;
            lower is better there.
        methods: names of the results, in the order of the tables' rows.
        model: the method that is the system's own result.
        baseline: the method that leaves the composite as it is.
        against: what predictions are compared with, for readers.
    """

    columns: Mapping[str, Column]
    decides: str
    methods: tuple[str, ...]
    model: str
    baseline: str
    against: str

    @property
    def headlines(self) -> tuple[str, ...]:
        """Names of the columns that sum a result up."""
        return tuple(name for name, column in self.columns.items() if column.headline)


class Judged(NamedTuple):
    """The results for one record.

    Attributes:
        images: method -> f32[h,w,3] in [0,1], for every one of `Measures.methods`.
        values: what was measured of them.
        shown: name -> f32[h,w,3] in [0,1], what a reader wants to see beside them.
    """

    images: Mapping[str, HostArray]
    values: Values
    shown: Mapping[str, HostArray]


class Judge(Protocol):
    """Makes and measures a system's results where there is no true picture to compare with."""

    @property
    def measures(self) -> Measures:
        """What it measures."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Sentences that a reader of the tables needs."""
        ...

    def __call__(self, record: HostBatch) -> Judged:
        """The results for a batch of one record, at its size; they depend on no other record.

        Raises:
            InputError: the record cannot be predicted, such as one that is too small.
        """
        ...

    def completed(self, rows: Sequence[Values]) -> list[Values]:
        """The values of all records, with those added that only the whole set tells."""
        ...

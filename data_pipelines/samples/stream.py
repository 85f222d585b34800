"""The order of samples: which record is used at every position of a run's global stream."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data_pipelines.building.record_format import Record

Sample = dict[str, np.ndarray | np.generic | str]
# Each generator is seeded by (seed, tag, position), so generators of different tags are independent
# and what is drawn for one sample does not depend on any other sample.
ORDER_TAG, SAMPLE_TAG, EVAL_TAG, UNPAIRED_TAG, SHUFFLED_TAG = 0, 1, 2, 3, 4
PAINTED_TAG, PAINTING_ORDER_TAG, OBJECT_ORDER_TAG, PAIRING_TAG, PAINTED_EVAL_TAG = (
    10,
    11,
    12,
    13,
    14,
)
TEXTURE_TAG = 77
# Length of a training stream: the readers add to it, so that sys.maxsize would overflow.
ENDLESS = 2**62


class RecordSource(Protocol):
    """Random access to undecoded records, as `reading.open_source` returns."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Record: ...


class RecordOrder(Protocol):
    """Position in the stream -> (number of the source, number of the record in it)."""

    def __getitem__(self, position: int, /) -> tuple[int, int]: ...


@dataclass(frozen=True)
class ProcessRows:
    """The rows of every global batch that one process reads.

    Attributes:
        batch_size: rows of a global batch.
        start: batches that were taken before; the stream continues after them.
        first: this process' first row in a global batch.
        count: number of its rows.
    """

    batch_size: int
    start: int
    first: int
    count: int

    def position(self, number: int) -> int:
        """The position in the global stream of this process' sample `number`.

        It depends on the steps taken and the row in the global batch only, so that the stream is
        the same after resuming and for any number of processes.
        """
        step, row = divmod(number, self.count)
        return (self.start + step) * self.batch_size + self.first + row


def sample_index(position: int) -> np.int32:
    """The position as it is stored in a batch, where it must fit into 32 bits."""
    return np.int32(position % 2**31)


def record_order(
    sources: Sequence[Sized],
    weights: Sequence[float] | None,
    seed: int,
    tag: int = ORDER_TAG,
) -> RecordOrder:
    """Orders the records of all sources; each source is shuffled anew at every pass over it.

    Args:
        sources: the data sets, interleaved by weight.
        weights: share of each source in the stream; None: by size.
        seed: decides the order.
        tag: makes several orders of one seed different.
    """
    import grain

    streams = []
    for which, source in enumerate(sources):
        # grain takes a seed of 32 bits: three numbers are hashed into one.
        entropy = np.random.SeedSequence((seed, tag, which))
        numbers = grain.MapDataset.range(len(source)).seed(int(entropy.generate_state(1)[0]))
        # Shuffling before repeating reshuffles each pass, and each pass has every record once.
        streams.append(numbers.shuffle().repeat(None).map(_WithSource(which)))
    if len(streams) == 1:
        return streams[0]
    # Position p of the mixture is a function of p and the weights alone: nothing is drawn, so that
    # any position can be computed without the ones before it.
    shares = weights or [len(source) for source in sources]
    return grain.MapDataset.mix(streams, weights=[share / sum(shares) for share in shares])


class _WithSource:
    """Record -> (source, record); a class, because worker processes must be able to pickle it."""

    def __init__(self, which: int) -> None:
        self._which = which

    def __call__(self, record: int) -> tuple[int, int]:
        return self._which, record

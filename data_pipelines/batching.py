"""Reads samples with threads or worker processes and stacks them to batches."""

import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from data_pipelines.samples.stream import Sample
from jaxharm import schema
from jaxharm.errors import InputError
from jaxharm.schema import Batch, HostArray, HostBatch, Pair

_UNPAIRED = "unpaired_"
_KILLED = "Worker process was terminated unexpectedly"  # how grain says it


class Samples(Protocol):
    """Samples by number; picklable, because worker processes get a copy."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Sample: ...


class _Reader(Protocol):
    """What grain makes: an iterator with threads or processes of its own."""

    def __next__(self) -> Mapping[str, HostArray]: ...

    def close(self) -> None: ...


class Batches(Iterator[HostBatch]):
    """An iterator of batches that owns reading threads or processes; close it when done.

    Args:
        samples: read in order.
        rows: samples per batch.
        workers: number of worker processes; 0: threads of this process.
        threads: number of these threads.
        evaluation: whether batches have the fields of evaluation.

    Attributes:
        total: how many batches one pass of evaluation has; None in training, which has no end.
    """

    def __init__(
        self,
        samples: Samples,
        rows: int,
        *,
        workers: int = 0,
        threads: int,
        evaluation: bool = False,
    ) -> None:
        self._readers = [_start(samples, rows, workers, threads)]
        self._workers = workers
        self._evaluation = evaluation
        self.total = len(samples) // rows if evaluation else None
        # Also runs when the interpreter shuts down: readers that outlive it print tracebacks. It
        # holds the list, not the iterator, which would otherwise never be collected.
        self._stop = weakref.finalize(self, _close_all, self._readers)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> HostBatch:
        if not self._readers:
            raise StopIteration
        try:
            arrays = next(self._readers[0])
        except RuntimeError as error:
            if _KILLED not in str(error):
                raise
            status = str(error).partition("exit code ")[2].split(".")[0]
            raise InputError(
                f"a process that reads data was killed from outside (exit code {status}), as systems "
                "do when memory runs out: set data.num_workers to less, or to 0 for threads, and run "
                "the same command again"
            ) from None
        if self._workers:
            # Workers hand over shared memory, which JAX may use in place for as long as it likes:
            # what is not given back when Python ends is reported as leaked.
            arrays = {key: np.array(value) for key, value in arrays.items()}
        batch = _as_batch(arrays)
        schema.validate(batch, evaluation=self._evaluation)
        return batch

    def close(self) -> None:
        """Stops the threads and processes; the iterator is then at its end."""
        self._stop()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _close_all(readers: list[_Reader]) -> None:
    while readers:
        readers.pop().close()


def _start(samples: Samples, rows: int, workers: int, threads: int) -> _Reader:
    """Starts reading samples in order, stacked to batches of `rows`."""
    import cv2
    import grain

    cv2.setNumThreads(0)  # the readers run in parallel: OpenCV's own threads would slow them down
    dataset = grain.MapDataset.source(samples).batch(rows, batch_fn=_stack)
    if not workers:
        # The buffer is counted in batches; threads read different batches, so one for each.
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
        return iter(dataset.to_iter_dataset(options))
    _parse_absl_flags()
    # Workers take batches in turn (worker w of n reads batches w, w + n, ...), so that their order,
    # and with it the resumed stream, is the same for any number of workers.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    processes = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
    return iter(dataset.to_iter_dataset(options).mp_prefetch(processes, _end_with_parent))


def _end_with_parent(worker: int, workers: int) -> None:
    """Ends this worker when the process that it reads for dies, even by SIGKILL.

    It would wait for ever for room in the queue, and keep its memory.
    """
    del worker, workers
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, name="follow-parent", daemon=True).start()


def _as_batch(arrays: Mapping[str, HostArray]) -> HostBatch:
    """Makes a `Batch` of stacked samples; keys of its second composite begin with "unpaired_"."""
    own = {key: value for key, value in arrays.items() if not key.startswith(_UNPAIRED)}
    other = {key.removeprefix(_UNPAIRED): arrays[key] for key in arrays if key not in own}
    return Batch(**own, unpaired=Pair(**other) if other else None)


def _stack(samples: Sequence[Sample]) -> dict[str, HostArray]:
    """Stacks samples; strings become object arrays, so that ids stay str."""
    return {
        key: np.array([sample[key] for sample in samples], object)
        if isinstance(value, str)
        else np.stack([np.asarray(sample[key]) for sample in samples])
        for key, value in samples[0].items()
    }


def _parse_absl_flags() -> None:
    """Marks absl's flags as parsed: grain's workers read some, and only absl programs parse them."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(sys.argv[:1])

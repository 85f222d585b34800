"""Batches from built data sets: seeded, exactly resumable, the same for any number of hosts.

The training stream is a fixed function of (configuration, seed): sample number `index` of the run
is a record (every data set is reshuffled each epoch; joined ones are interleaved by weight) and a
generator seeded by (seed, index) for all that is drawn on it. Workers, threads, processes and
devices only decide who computes which samples. Hence the state of the stream is one integer, the
number of steps taken.
"""

import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.reading import open_source
from data_pipelines.samples.painted import (
    OWN,
    PaintedEvalSamples,
    PaintedSamples,
    ReadyEvalSamples,
)
from data_pipelines.samples.paired import EvalSamples, RecordSource, Slots, TrainSamples
from data_pipelines.samples.textures import NAME as TEXTURES
from data_pipelines.samples.textures import TextureSource
from jaxharm import schema

Batch = dict[str, np.ndarray]


class Batches(Iterator[Batch]):
    """An iterator of batches that owns reading threads or processes; close it when done."""

    def __init__(self, iterator: Any, *, evaluation: bool = False) -> None:
        self._readers = [iterator]
        self._evaluation = evaluation
        # Runs at the latest before the interpreter shuts down: readers that outlive it are noisy.
        self._stop = weakref.finalize(self, _close_all, self._readers)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        if not self._readers:
            raise StopIteration
        batch = next(self._readers[0])
        schema.validate(batch, evaluation=self._evaluation)
        return batch

    def close(self) -> None:
        """Stops the threads and processes; the iterator is then at its end."""
        self._stop()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _close_all(readers: list[Any]) -> None:
    while readers:
        readers.pop().close()


def train_batches(
    data: Any,
    *,
    seed: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """This process' rows of every global training batch, without end.

    Args:
        data: the attributes of `DataConfig`: name, data_dir, split, weights, batch_size (global),
            image_size, image_resize, mask_resize, num_workers, num_threads, augment (flip,
            crop_scale, crop_ratio, keep_background), synthesis (probability, families),
            unpaired (see `UnpairedConfig`) and paintings (see `PaintingsConfig`).
        seed: decides the order and all that is drawn.
        start: optimization steps already taken; the stream continues after them.
        process_index, process_count: rows [i*b, (i+1)*b) of each global batch go to process i,
            b = batch_size / process_count.

    Returns:
        Batches as in `schema` (training keys).

    Raises:
        DatasetValidationError: a data set is missing, or the options do not fit it.
    """
    return train_batches_from(
        open_sources(data),
        data,
        composites=open_composites(data),
        paintings=open_paintings(data),
        seed=seed,
        start=start,
        process_index=process_index,
        process_count=process_count,
    )


def train_batches_from(
    sources: Sequence[RecordSource],
    data: Any,
    *,
    composites: Sequence[RecordSource] = (),
    paintings: Sequence[RecordSource] = (),
    seed: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """As `train_batches`, on already opened sources: anything with len() and [index]."""
    slots = _slots(data.batch_size, start, process_index, process_count)
    samples: TrainSamples | PaintedSamples
    if paintings:
        samples = PaintedSamples(sources, paintings, data, seed=seed, slots=slots)
    else:
        samples = TrainSamples(sources, data, seed=seed, slots=slots, composites=composites)
    return Batches(_iterate(samples, slots.rows, data.num_workers, data.num_threads))


def eval_batches(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    split: str = "test",
    image_size: int | None = 256,
    image_resize: str = "linear_noaa",
    mask_resize: str = "linear_binary",
    batch_size: int = 16,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 4,
    paintings: str = "",
    paintings_split: str = "test_paintings",
) -> Batches:
    """One ordered pass over a split; every process gets the same number of batches.

    Photographs without composites are recolored, each always in the same way.

    Args:
        name: one built data set.
        data_dir, split: where and which part.
        image_size: side of the square that everything is resized to; None keeps native sizes, then
            a batch holds one record per process, whatever `batch_size` says.
        image_resize, mask_resize: modes of `jaxharm.images.resize`.
        batch_size: global; the last batch is filled with copies of the last record, `valid` 0.
        process_index, process_count: as in `train_batches`.
        num_threads: reading threads.
        paintings, paintings_split: what the objects of `name` are pasted on, as
            `data.paintings.name`; the pass is then over the paintings (as many "textures" as there
            are records). "own": the records are composites with their paintings. Empty: the
            records are composites with the truth.

    Raises:
        DatasetValidationError: the data set or split is missing, or batch_size does not fit.
    """
    source = open_source(name, data_dir, split)
    return eval_batches_from(
        source,
        ready=paintings == OWN,
        paintings=[]
        if paintings == OWN
        else _open_paintings(
            paintings, data_dir, paintings_split, textures=len(source), side=image_size or 256
        ),
        image_size=image_size,
        image_resize=image_resize,
        mask_resize=mask_resize,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        num_threads=num_threads,
    )


def eval_batches_from(
    source: RecordSource,
    *,
    paintings: Sequence[RecordSource] = (),
    ready: bool = False,
    image_size: int | None,
    image_resize: str,
    mask_resize: str,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 4,
) -> Batches:
    """As `eval_batches`, on already opened sources; `ready` stands for the paintings "own"."""
    if image_size is None:
        batch_size = process_count
    slots = _slots(batch_size, 0, process_index, process_count)
    options: dict[str, Any] = {"image_size": image_size, "image_resize": image_resize}
    options |= {"mask_resize": mask_resize, "slots": slots}
    samples: EvalSamples | PaintedEvalSamples
    if ready:
        samples = ReadyEvalSamples(source, **options)
    elif paintings:
        samples = PaintedEvalSamples(source, paintings, **options)
    else:
        samples = EvalSamples(source, **options)
    return Batches(_iterate(samples, slots.rows, 0, num_threads), evaluation=True)


def steps_per_epoch(data: Any) -> int:
    """Global batches in one pass over the (joined) data sets, at least 1; the rest is dropped.

    Where objects are pasted on paintings, the pass is over the paintings.
    """
    sources = open_paintings(data) or open_sources(data)
    return max(1, sum(len(source) for source in sources) // data.batch_size)


def open_sources(data: Any) -> list[Any]:
    """Opens the data sets that `data.name` joins by '+'."""
    return [open_source(name.strip(), data.data_dir, data.split) for name in data.name.split("+")]


def open_composites(data: Any) -> list[Any]:
    """Opens the sets of ready-made composites of the second stream, where the run has one."""
    unpaired = data.unpaired
    names = unpaired.composites.split("+") if unpaired.enabled and unpaired.composites else []
    return [open_source(name.strip(), data.data_dir, unpaired.composites_split) for name in names]


def open_paintings(data: Any) -> list[Any]:
    """Opens what the objects of the run are pasted on; empty where it has none."""
    options = data.paintings
    return _open_paintings(
        options.name, data.data_dir, options.split, textures=options.textures, side=data.image_size
    )


def _open_paintings(
    names: str, data_dir: str | os.PathLike | None, split: str, *, textures: int, side: int
) -> list[Any]:
    return [
        TextureSource(textures, side) if name == TEXTURES else open_source(name, data_dir, split)
        for name in map(str.strip, names.split("+"))
        if name
    ]


def describe_sources(data: Any) -> dict[str, dict[str, Any]]:
    """Splits and fingerprint of every data set that a run trains on, for its record."""
    sources = [*open_sources(data), *open_composites(data), *open_paintings(data)]
    infos = [source.info for source in sources]
    return {info.name: {"splits": info.splits, "fingerprint": info.fingerprint} for info in infos}


def _slots(batch_size: int, start: int, process_index: int, process_count: int) -> Slots:
    if batch_size < 1 or batch_size % process_count:
        raise DatasetValidationError(
            f"batch size {batch_size} is not a positive multiple of the {process_count} processes"
        )
    rows = batch_size // process_count
    return Slots(batch_size, start, process_index * rows, rows)


def _iterate(samples: Any, batch_size: int, num_workers: int, num_threads: int) -> Any:
    """Reads samples in order, stacked to batches, by threads or by worker processes."""
    import cv2
    import grain

    cv2.setNumThreads(0)  # one thread per reader; more would fight over the same cores
    dataset = grain.MapDataset.source(samples).batch(batch_size, batch_fn=_stack)
    if not num_workers:
        # The buffer counts batches: one under way per thread.
        options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
        return iter(dataset.to_iter_dataset(options))
    _parse_absl_flags()
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    workers = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
    return iter(dataset.to_iter_dataset(options).mp_prefetch(workers))


def _stack(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Samples -> batch; strings become object arrays, so that ids stay str."""
    return {
        key: np.array([sample[key] for sample in samples], object)
        if isinstance(value, str)
        else np.stack([sample[key] for sample in samples])
        for key, value in samples[0].items()
    }


def _parse_absl_flags() -> None:
    """Worker processes read absl flags, which a program without absl never parses."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(sys.argv[:1])

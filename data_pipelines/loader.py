"""Loads batches from built data sets: seeded, exactly resumable, equal for any number of hosts.

The training stream is a function of the configuration and the seed alone. Sample number `index` of
a run uses one record (each data set is shuffled anew every epoch; several data sets are interleaved
by weight) and a generator seeded by (seed, index) for everything that is drawn for it. Workers,
threads, processes and devices only divide the work. So the state of the stream is one integer: the
number of steps taken.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from data_pipelines.batching import Batches
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.reading import RecordSource as BuiltSource
from data_pipelines.reading import SkippingSource, open_source
from data_pipelines.samples.existing import ExistingSamples
from data_pipelines.samples.label_file import read_labels
from data_pipelines.samples.options import DataOptions
from data_pipelines.samples.painted import (
    OWN,
    ExistingEvalSamples,
    PaintedEvalSamples,
    PaintedSamples,
)
from data_pipelines.samples.paired import EvalSamples, TrainSamples
from data_pipelines.samples.stream import ProcessRows, RecordSource
from data_pipelines.samples.textures import NAME as TEXTURES
from data_pipelines.samples.textures import TextureSource

TrainSource: TypeAlias = BuiltSource | SkippingSource


def train_batches(
    data: DataOptions,
    *,
    seed: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """Loads this process' rows of all global training batches, without end.

    Args:
        data: the data sets of the run and how samples are made of them, `config.DataConfig`.
        seed: decides the order and everything that is drawn.
        start: optimization steps already taken; the stream continues after them.
        process_index, process_count: process i gets the rows [i*b, (i+1)*b) of each global batch,
            b = batch_size / process_count.

    Returns:
        Training batches as in `jaxharm.schema`.

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
    data: DataOptions,
    *,
    composites: Sequence[RecordSource] = (),
    paintings: Sequence[RecordSource] = (),
    seed: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """As `train_batches`, for sources that are opened already: anything with len() and [index]."""
    rows = _process_rows(data.batch_size, start, process_index, process_count)
    samples: TrainSamples | PaintedSamples | ExistingSamples
    if data.labels and data.paintings.name != OWN:
        raise DatasetValidationError(
            f"data.labels={data.labels!r} names existing composites: set data.paintings.name={OWN}"
        )
    if data.paintings.name == OWN:
        samples = ExistingSamples(sources, data, seed=seed, rows=rows)
    elif paintings:
        samples = PaintedSamples(sources, paintings, data, seed=seed, rows=rows)
    else:
        samples = TrainSamples(sources, data, seed=seed, rows=rows, composites=composites)
    return Batches(samples, rows.count, workers=data.num_workers, threads=data.num_threads)


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
    """Loads one ordered pass over a split; every process gets the same number of batches.

    Photographs without composites are recolored, each always in the same way.

    Args:
        name: one built data set.
        data_dir, split: its data directory (see `reading`) and split.
        image_size: side of the square that everything is resized to; None keeps native sizes, and
            then a batch holds one record per process, whatever `batch_size` is.
        image_resize, mask_resize: modes of `jaxharm.images.resize`.
        batch_size: global; the last batch is filled with copies of the last record, `valid` 0.
        process_index, process_count: as in `train_batches`.
        num_threads: reading threads.
        paintings, paintings_split: if not empty, the objects of `name` are pasted on these
            paintings (as `data.paintings.name`), and the pass is over the paintings; there are as
            many "textures" as records. "own": the records are composites with their own paintings.

    Raises:
        DatasetValidationError: the data set or split is missing, or batch_size does not fit.
    """
    source = open_source(name, data_dir, split)
    own_paintings = paintings == OWN
    opened: list[BuiltSource | TextureSource] = []
    if not own_paintings:
        names = [name.strip() for name in paintings.split("+") if name]
        sets = [(name, paintings_split) for name in names]
        opened = _open_paintings(sets, data_dir, textures=len(source), side=image_size or 256)
    return eval_batches_from(
        source,
        own_paintings=own_paintings,
        paintings=opened,
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
    own_paintings: bool = False,
    image_size: int | None,
    image_resize: str,
    mask_resize: str,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 4,
) -> Batches:
    """As `eval_batches`, for sources that are opened already.

    `own_paintings`: the records are composites with their own paintings.
    """
    if image_size is None:  # images of different sizes cannot be stacked
        batch_size = process_count
    rows = _process_rows(batch_size, 0, process_index, process_count)
    make: Callable[..., EvalSamples | PaintedEvalSamples]
    if own_paintings:
        make = functools.partial(ExistingEvalSamples, source)
    elif paintings:
        make = functools.partial(PaintedEvalSamples, source, paintings)
    else:
        make = functools.partial(EvalSamples, source)
    samples = make(
        image_size=image_size, image_resize=image_resize, mask_resize=mask_resize, rows=rows
    )
    return Batches(samples, rows.count, threads=num_threads, evaluation=True)


def steps_per_epoch(data: DataOptions) -> int:
    """Number of whole global batches in one pass over all data sets, at least 1.

    If objects are pasted on paintings, the pass is over the paintings; if only labeled composites
    are used, over these.
    """
    if data.labels:
        return max(1, len(read_labels(data.labels, data.label_classes)) // data.batch_size)
    sources = open_paintings(data) or open_sources(data)
    return max(1, sum(len(source) for source in sources) // data.batch_size)


def open_sources(data: DataOptions) -> list[TrainSource]:
    """Opens the data sets whose names `data.name` joins by '+', each at its split."""
    return [_open(name, data, split) for name, split in data.sets]


def open_composites(data: DataOptions) -> list[TrainSource]:
    """Opens the data sets of existing composites for the second stream, if the run has one."""
    return [_open(name, data, split) for name, split in data.unpaired.sets]


def _open(name: str, data: DataOptions, split: str) -> TrainSource:
    source, limit = open_source(name, data.data_dir, split), data.on_error.removeprefix("skip:")
    return SkippingSource(source, int(limit)) if limit.isdigit() else source


def open_paintings(data: DataOptions) -> list[BuiltSource | TextureSource]:
    """Opens the paintings that the objects of the run are pasted on, if it has any."""
    options = data.paintings
    if options.name == OWN:  # the composites bring them along
        return []
    return _open_paintings(
        options.sets, data.data_dir, textures=options.textures, side=data.image_size
    )


def _open_paintings(
    sets: Sequence[tuple[str, str]],
    data_dir: str | os.PathLike | None,
    *,
    textures: int,
    side: int,
) -> list[BuiltSource | TextureSource]:
    return [
        TextureSource(textures, side) if name == TEXTURES else open_source(name, data_dir, split)
        for name, split in sets
    ]


def describe_sources(data: DataOptions) -> dict[str, dict[str, Any]]:
    """Splits and fingerprints of all data sets that a run trains on, to be stored with the run."""
    sources = [*open_sources(data), *open_composites(data), *open_paintings(data)]
    infos = [source.info for source in sources]
    return {info.name: {"splits": info.splits, "fingerprint": info.fingerprint} for info in infos}


def _process_rows(
    batch_size: int, start: int, process_index: int, process_count: int
) -> ProcessRows:
    if batch_size < 1 or batch_size % process_count:
        raise DatasetValidationError(
            f"batch size {batch_size} is not a positive multiple of the {process_count} processes"
        )
    count = batch_size // process_count
    return ProcessRows(batch_size, start, process_index * count, count)

"""Predictions and metrics over a data set: every image counted once, in float64 on the host.

Values are computed image by image after prediction, so that they do not depend on batch size,
devices or processes. The composite itself is measured beside the model: the identity baseline.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from jaxharm.errors import InputError
from jaxharm.evaluation.gather import gather
from jaxharm.evaluation.result import Evaluation, Item, Observer, Row
from jaxharm.interfaces import Output
from jaxharm.metrics import get_protocol, measure
from jaxharm.metrics.accumulate import require_finite
from jaxharm.metrics.bins import foreground_ratio
from jaxharm.metrics.curve import curve_fmse
from jaxharm.metrics.lpips import LPIPS
from jaxharm.metrics.protocols import Protocol as MetricProtocol
from jaxharm.schema import HostArray, HostBatch, present

Work = Callable[[], Item]  # measures one record


def evaluate(
    predict: Callable[[HostBatch], Output],
    batches: Iterable[HostBatch],
    protocol: str | MetricProtocol,
    *,
    observers: Sequence[Observer] = (),
    figures: Callable[[HostBatch], Mapping[str, HostArray]] | None = None,
    lpips: LPIPS | None = None,
    threads: int = 8,
) -> Evaluation:
    """Measures a model on this process's batches and joins the results of all processes.

    Args:
        predict: host batch -> Output whose image is f32[b,h,w,3] in [0,1].
        batches: evaluation batches as in jaxharm/schema.py, at the protocol's size; items
            with `valid` 0 are padding and leave no trace.
        protocol: preset name or `Protocol`.
        observers: see every image with its pixels.
        figures: host batch -> what explains the predictions, for the observers.
        lpips: adds the metric "lpips" where given.
        threads: that measure while the next batch is predicted.

    Returns:
        The rows of every process; a collective call in a run of several.

    Raises:
        InputError: no image, an image twice, or NaN or infinite values in a prediction; raised on
            every process, with the image's name.
    """
    protocol = get_protocol(protocol)

    def work(batch: HostBatch) -> list[Work]:
        predicted = np.asarray(predict(batch).image)
        extra = _lpips_values(lpips, predicted, batch)
        found = figures(batch) if figures else {}
        return [
            functools.partial(_measure_item, batch, predicted, i, protocol, extra, found)
            for i in records_of(batch)
        ]

    return Evaluation(protocol, collect_rows(work, batches, observers, threads))


def collect_rows(
    work: Callable[[HostBatch], list[Work]],
    batches: Iterable[HostBatch],
    observers: Sequence[Observer],
    threads: int,
) -> tuple[Row, ...]:
    """Does the work of all batches, a batch ahead of the observers, and joins all processes."""
    rows: list[Row] = []
    problem = None
    with ThreadPoolExecutor(threads) as pool:
        pending: list[Future[Item]] = []
        try:
            for batch in batches:
                started = [pool.submit(task) for task in work(batch)]
                rows += _finish(pending, observers)
                pending = started
            rows += _finish(pending, observers)
        except InputError as error:  # the other processes must not wait for this one
            problem = str(error)
    gathered = gather({"rows": [dataclasses.asdict(row) for row in rows], "problem": problem})
    for part in gathered:
        if part["problem"]:
            raise InputError(part["problem"])
    return _checked([Row(**values) for part in gathered for values in part["rows"]])


def records_of(batch: HostBatch) -> list[int]:
    """Places of the records in a batch, without those that fill it up."""
    return [int(i) for i in np.flatnonzero(present(batch.valid, "valid") > 0)]


def aspect_of(batch: HostBatch, i: int) -> float | None:
    """Width / height of a record's stored pictures, where the batch tells it."""
    return None if batch.aspect is None else float(batch.aspect[i])


def _measure_item(
    batch: HostBatch,
    predicted: HostArray,
    i: int,
    protocol: MetricProtocol,
    extra: Mapping[str, HostArray],
    figures: Mapping[str, HostArray],
) -> Item:
    name = str(present(batch.composite_id, "composite_id")[i])
    prediction = predicted[i]
    require_finite(bool(np.isfinite(prediction).all()), name)
    composite, mask = batch.composite[i], batch.mask[i]
    target = present(batch.target, "target")[i]
    floats = {
        which: _values(image[None], target[None], mask[None], protocol)
        for which, image in (("model", prediction), ("baseline", composite))
    }
    for which, found in extra.items():
        floats[which]["lpips"] = float(found[i])
    ratio = float(foreground_ratio(mask[None])[0])
    subset = str(present(batch.subset, "subset")[i])
    row = Row(name, subset, ratio, floats["model"], floats["baseline"])
    shown = {label: value[i] for label, value in figures.items()}
    return Item(row, composite, mask, target, prediction, shown, aspect_of(batch, i))


def _values(
    image: HostArray, target: HostArray, mask: HostArray, protocol: MetricProtocol
) -> dict[str, float]:
    """All metrics of a batch of one image."""
    found = measure(image, target, mask, protocol=protocol)
    found["curve_fmse"] = curve_fmse(image, target, mask, protocol=protocol)
    return {name: float(value[0]) for name, value in found.items()}


def _finish(pending: Iterable[Future[Item]], observers: Sequence[Observer]) -> list[Row]:
    rows = []
    for future in pending:
        item = future.result()
        for observer in observers:
            observer.observe(item)
        rows.append(item.row)
    return rows


def _lpips_values(
    lpips: LPIPS | None, predicted: HostArray, batch: HostBatch
) -> dict[str, HostArray]:
    if lpips is None:
        return {}
    target = present(batch.target, "target")
    return {
        "model": np.asarray(lpips(predicted, target)),
        "baseline": np.asarray(lpips(batch.composite, target)),
    }


def _checked(rows: list[Row]) -> tuple[Row, ...]:
    if not rows:
        raise InputError("the evaluation split holds no image; check eval.data and eval.split")
    rows = sorted(rows, key=lambda row: (row.subset, row.composite_id))
    for first, second in itertools.pairwise(rows):
        if (first.subset, first.composite_id) == (second.subset, second.composite_id):
            raise InputError(
                f"image {first.composite_id!r} of {first.subset} came up twice in the evaluation "
                "split; each must count once, rebuild the data set"
            )
    return tuple(rows)

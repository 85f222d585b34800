"""Evaluation by a system's own measures, where there is no true picture to compare with."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from jaxharm.errors import InputError
from jaxharm.evaluation.columns import REFERENCE
from jaxharm.evaluation.evaluate import Work, aspect_of, collect_rows, records_of
from jaxharm.evaluation.result import Evaluation, Item, Observer, Row
from jaxharm.measures import Judge
from jaxharm.metrics import get_protocol
from jaxharm.metrics.accumulate import require_finite
from jaxharm.metrics.bins import foreground_ratio
from jaxharm.metrics.lpips import LPIPS
from jaxharm.metrics.protocols import Protocol as MetricProtocol
from jaxharm.schema import Batch, HostArray, HostBatch, present


def evaluate_judged(
    judge: Judge,
    batches: Iterable[HostBatch],
    protocol: str | MetricProtocol,
    *,
    observers: Sequence[Observer] = (),
    figures: Callable[[HostBatch], Mapping[str, HostArray]] | None = None,
    lpips: LPIPS | None = None,
) -> Evaluation:
    """As `evaluate`, by a system's own measures: the judge sees one record at a time.

    Args:
        judge: of `System.judge`.
        batches, protocol, observers, figures: as in `evaluate`; of the protocol counts how images
            are brought to size.
        lpips: adds the metric "lpips", the distance of every method's result to the composite.
    """
    protocol, measures = get_protocol(protocol), judge.measures

    def work(batch: HostBatch) -> list[Work]:
        found = figures(batch) if figures else {}
        return [
            functools.partial(_judge_item, judge, batch, i, lpips, found) for i in records_of(batch)
        ]

    # One thread: every record is a run of the network, and it has the machine to itself.
    rows = collect_rows(work, batches, observers, threads=1)
    completed = judge.completed([row.values(measures) for row in rows])
    rows = tuple(row.with_values(of, measures) for row, of in zip(rows, completed, strict=True))
    notes = list(judge.notes)
    if lpips is not None:
        columns = {**measures.columns, "lpips": REFERENCE.columns["lpips"]}
        measures = dataclasses.replace(measures, columns=columns)
        notes.append("LPIPS: distance of a result to the composite")
    return Evaluation(protocol, rows, measures, tuple(notes))


def _judge_item(
    judge: Judge, batch: HostBatch, i: int, lpips: LPIPS | None, figures: Mapping[str, HostArray]
) -> Item:
    measures, name = judge.measures, str(present(batch.composite_id, "composite_id")[i])
    composite, mask = batch.composite[i : i + 1], batch.mask[i : i + 1]
    background = None if batch.background is None else batch.background[i : i + 1]
    try:
        images, values, shown = judge(Batch(composite, mask, background=background))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    for image in images.values():
        require_finite(bool(np.isfinite(image).all()), name)
    if lpips is not None:
        untouched = images[measures.baseline][None]
        values = {
            method: {**of, "lpips": float(lpips(images[method][None], untouched)[0])}
            for method, of in values.items()
        }
    ratio = float(foreground_ratio(mask)[0])
    empty = Row(name, str(present(batch.subset, "subset")[i]), ratio, {}, {})
    pictures = {method: image for method, image in images.items() if method != measures.baseline}
    panels = {**shown, **pictures, **{label: value[i] for label, value in figures.items()}}
    row = empty.with_values(values, measures)
    shape = aspect_of(batch, i)
    return Item(row, composite[0], mask[0], None, images[measures.model], panels, shape)

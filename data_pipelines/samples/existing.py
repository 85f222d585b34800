"""Training samples of existing composites with their own paintings, perhaps labeled by people.

Source: docs/data.md, "Paintings".
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.record_format import record_id
from data_pipelines.samples.checks import check_modes, check_not_empty
from data_pipelines.samples.decode import decode_image, decode_mask
from data_pipelines.samples.geometry import draw_augmentation
from data_pipelines.samples.label_file import read_labels
from data_pipelines.samples.options import DataOptions
from data_pipelines.samples.painted import OWN, paste
from data_pipelines.samples.stream import (
    ENDLESS,
    SAMPLE_TAG,
    ProcessRows,
    RecordSource,
    Sample,
    record_order,
    sample_index,
)


class ExistingSamples:
    """The training samples of one process, without end; picklable for worker processes.

    Each composite is pasted again on its painting, as in `painted.ExistingEvalSamples`. With
    `data.labels`, only labeled composites are used, and every sample has its `label`.

    Args:
        composites: data sets whose records have a `background`, their painting.
        data: the run's options.
        seed, rows: as for `paired.TrainSamples`.

    Raises:
        DatasetValidationError: the options do not fit the data sets, or the labels do not.
    """

    def __init__(
        self,
        composites: Sequence[RecordSource],
        data: DataOptions,
        *,
        seed: int,
        rows: ProcessRows,
    ) -> None:
        check_modes(data.image_resize, data.mask_resize)
        if data.shuffle_targets:
            raise DatasetValidationError(
                "data.shuffle_targets has no meaning for composites on paintings, which have no "
                "ground truth; leave it out"
            )
        for source in composites:
            check_not_empty(source)
            if "background" not in source[0]:
                raise DatasetValidationError(
                    f"{source!r} has no paintings of its own (data.paintings.name={OWN!r}): build "
                    f"it from folders comp/, mask/ and style/, or name a set of paintings"
                )
        self._composites = composites
        self._data = data
        self._seed = seed
        self._rows = rows
        self._labels = read_labels(data.labels, data.label_classes) if data.labels else None
        self._places = None if self._labels is None else _labeled(composites, self._labels, data)
        chosen = composites if self._places is None else [range(len(self._places))]
        self._order = record_order(chosen, data.weights, seed)

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, number: int) -> Sample:
        data, position = self._data, self._rows.position(number)
        rng = np.random.default_rng((self._seed, SAMPLE_TAG, position))
        which, index = self._order[position]
        if self._places is not None:
            which, index = self._places[index]
        record = self._composites[which][index]
        image = decode_image(record, "composite" if "composite" in record else "real")
        mask = decode_mask(record)
        geometry = draw_augmentation(mask, rng, data)
        size = (data.image_size, data.image_size)
        arrays = paste(image, mask, geometry, record, size, data.image_resize, data.mask_resize)
        sample: Sample = {**arrays, "index": sample_index(position)}
        if self._labels is not None:
            sample["label"] = np.int32(self._labels[record_id(record)])
        return sample


def _labeled(
    composites: Sequence[RecordSource], labels: dict[str, int], data: DataOptions
) -> list[tuple[int, int]]:
    """The places (data set, record) of the composites that have a label."""
    if data.weights:
        raise DatasetValidationError(
            "data.weights has no meaning for labeled composites (data.labels); leave it out"
        )
    places = {
        record_id(source[index]): (which, index)
        for which, source in enumerate(composites)
        for index in range(len(source))
    }
    unknown = sorted(set(labels) - set(places))
    if unknown:
        raise DatasetValidationError(
            f"{Path(data.labels)} labels {unknown[0]!r}, and {len(unknown)} names in all, which are "
            f"no composites of data.name={data.name!r}; such are called {next(iter(places))!r}"
        )
    return sorted(places[name] for name in labels)

"""Makes samples of composites with their real photographs, for training and for evaluation."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.record_format import Record, record_id
from data_pipelines.samples.checks import (
    check_has_photographs,
    check_modes,
    check_not_empty,
)
from data_pipelines.samples.decode import decode_image, decode_mask, decode_record
from data_pipelines.samples.geometry import (
    Geometry,
    apply_geometry,
    draw_augmentation,
    recolor_alike,
)
from data_pipelines.samples.options import DataOptions
from data_pipelines.samples.recoloring import check_families, recolor
from data_pipelines.samples.stream import (
    ENDLESS,
    EVAL_TAG,
    SAMPLE_TAG,
    SHUFFLED_TAG,
    UNPAIRED_TAG,
    ProcessRows,
    RecordSource,
    Sample,
    record_order,
    sample_index,
)
from data_pipelines.samples.unpaired import UnpairedStream
from jaxharm.images.resize import resize_image

Arrays = dict[str, np.ndarray]
_REFERENCE_SIDE = 128  # pixels; a reference photograph of this size gives its color statistics


class TrainSamples:
    """The training samples of one process, without end; picklable for worker processes.

    Args:
        sources: the data sets of the run.
        data: the run's options.
        seed: decides the order and everything that is drawn.
        rows: the rows of every global batch that this process makes.
        composites: data sets of existing composites for the second stream.

    Raises:
        DatasetValidationError: the options do not fit the data sets.
    """

    def __init__(
        self,
        sources: Sequence[RecordSource],
        data: DataOptions,
        *,
        seed: int,
        rows: ProcessRows,
        composites: Sequence[RecordSource] = (),
    ) -> None:
        _check(sources, data)
        self._sources = sources
        self._data = data
        self._seed = seed
        self._rows = rows
        self._order = record_order(sources, data.weights, seed)
        self._unpaired = None
        if data.unpaired.enabled:
            self._unpaired = UnpairedStream(sources, composites, data)
        self._targets = None
        if data.shuffle_targets:
            self._targets = [
                other_records(len(source), (seed, SHUFFLED_TAG, which))
                for which, source in enumerate(sources)
            ]

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, number: int) -> Sample:
        position = self._rows.position(number)
        rng = np.random.default_rng((self._seed, SAMPLE_TAG, position))
        which, index = self._order[position]
        arrays = self._make(self._sources[which], index, rng)
        if self._unpaired:
            # A generator of its own: switching the second stream on does not change which crop,
            # flip and recoloring the first one gets.
            second = np.random.default_rng((self._seed, UNPAIRED_TAG, position))
            arrays = self._unpaired.add(arrays, second)
        if self._targets is not None:
            # The last step: everything else is as in the run that this one is the control of.
            other = self._sources[which][int(self._targets[which][index])]
            arrays["real"] = self._whole(other)
        return {**_with_batch_keys(arrays), "index": sample_index(position)}

    def _whole(self, record: Record) -> np.ndarray:
        """A record's photograph at the size of the samples, u8[size,size,3]."""
        size = (self._data.image_size, self._data.image_size)
        return resize_image(decode_image(record, "real"), size, self._data.image_resize)

    def _make(self, source: RecordSource, index: int, rng: np.random.Generator) -> Arrays:
        """The augmented images of a record, by the record's keys.

        All samples of a seed change if the order of the draws from `rng` does.
        """
        data = self._data
        record = source[index]
        recolored = rng.random() < data.synthesis.probability or "composite" not in record
        images = decode_record(record, skip=("composite",) if recolored else ())
        geometry = draw_augmentation(images["mask"], rng, data)
        size = (data.image_size, data.image_size)
        modes = {"image_resize": data.image_resize, "mask_resize": data.mask_resize}
        arrays = apply_geometry(images, geometry, size, **modes)
        if rng.random() < data.augment.recolor:
            arrays = recolor_alike(arrays, rng)
        if not recolored:
            return arrays
        # Drawn only where it is asked for: all other runs keep their samples.
        if data.synthesis.unchanged and rng.random() < data.synthesis.unchanged:
            arrays["composite"] = arrays["real"].copy()
            return arrays
        # A soft edge in every mask mode, as if the photograph had been recolored at its native
        # size and then resized.
        edge = {"image_resize": data.image_resize, "mask_resize": "linear"}
        soft = apply_geometry({"mask": images["mask"]}, geometry, size, **edge)["mask"]
        reference = reference_pixels(source[int(rng.integers(len(source)))])
        arrays["composite"] = recolor(
            arrays["real"], soft, rng, reference=reference, families=data.synthesis.families
        )
        return arrays


class EvalSamples:
    """One process' samples of one ordered pass over a split, each record exactly once.

    The last batch is filled with copies of the last record, whose `valid` is 0. Photographs without
    composites are recolored, each in a way that depends on its number only.
    """

    def __init__(
        self,
        source: RecordSource,
        *,
        image_size: int | None,
        image_resize: str,
        mask_resize: str,
        rows: ProcessRows,
    ) -> None:
        check_modes(image_resize, mask_resize)
        check_not_empty(source)
        check_has_photographs(source, "eval.paintings")
        self._source = source
        self._image_size = image_size
        self._modes = {"image_resize": image_resize, "mask_resize": mask_resize}
        self._rows = rows

    def __len__(self) -> int:
        # Rounded up: all processes must get the same number of batches, or they wait for each
        # other forever.
        batches = -(-len(self._source) // self._rows.batch_size)
        return batches * self._rows.count

    def __getitem__(self, number: int) -> Sample:
        position = self._rows.position(number)
        index = min(position, len(self._source) - 1)
        record = self._source[index]
        images = decode_record(record)
        height, width = images["mask"].shape
        size = (self._image_size, self._image_size) if self._image_size else (height, width)
        if "composite" not in images:
            rng = np.random.default_rng((EVAL_TAG, index))
            mask = images["mask"].astype(np.float32) / np.float32(255)
            images["composite"] = recolor(images["real"], mask, rng)
        arrays = apply_geometry(images, Geometry((0, 0, height, width)), size, **self._modes)
        return {
            **_with_batch_keys(arrays),
            "index": sample_index(position),
            "valid": np.float32(position < len(self._source)),
            "composite_id": record_id(record),
            "subset": record["subset"],
            "aspect": np.float32(width / height),
        }


def other_records(count: int, seed: Sequence[int]) -> np.ndarray:
    """For each of `count` records the number of another one, each used once, i64[count]."""
    cycle = np.random.default_rng(seed).permutation(count)
    others = np.empty(count, np.int64)
    others[cycle] = np.roll(cycle, 1)  # the one before it in a circle of all: never itself
    return others


def reference_pixels(record: Record) -> np.ndarray:
    """Foreground pixels of a photograph at reduced size, u8[n,3], as a reference for colors."""
    side = min(record["height"], record["width"])
    reduce = next((r for r in (8, 4, 2) if side // r >= _REFERENCE_SIDE), 1)
    image, mask = decode_image(record, "real", reduce=reduce), decode_mask(record)
    # The mask is sampled at the pixels of the reduced image: sizes need not divide evenly, and not
    # every format can be decoded at a reduced size.
    rows = np.arange(image.shape[0]) * mask.shape[0] // image.shape[0]
    columns = np.arange(image.shape[1]) * mask.shape[1] // image.shape[1]
    return image[mask[rows[:, None], columns] >= 128]


def _with_batch_keys(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Renames keys of records to those of batches."""
    return {"target" if key == "real" else key: value for key, value in arrays.items()}


def _check(sources: Sequence[RecordSource], data: DataOptions) -> None:
    """Refuses options that do not fit the data sets before any reader starts."""
    check_modes(data.image_resize, data.mask_resize)
    check_families(data.synthesis.families)
    for source in sources:
        check_not_empty(source)
        check_has_photographs(source, "data.paintings.name")
        if data.shuffle_targets and len(source) < 2:
            raise DatasetValidationError(f"{source!r} has one record: no targets to shuffle")
    if len({"background" in source[0] for source in sources}) > 1:
        raise DatasetValidationError(
            f"data.name={data.name!r} joins data sets with and without background plates; "
            f"their batches cannot be mixed"
        )

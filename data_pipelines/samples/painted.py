"""Painterly composites made while reading: an object of a photograph, pasted on a painting.

Both are squashed to the same square, so that the object keeps the place and the share of the area
that it has in its photograph. A sample is a function of the seed, its position in the stream and
the two records. Composites are rounded to 8 bits; officially the soft edge of an object is not.

Source: specs/propih 5.2.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.record_format import Record, record_id
from data_pipelines.samples.decode import decode_image, decode_mask
from data_pipelines.samples.geometry import Geometry, apply_geometry, draw_geometry
from data_pipelines.samples.paired import (
    RecordSource,
    Sample,
    Slots,
    check_modes,
    check_sources,
    record_order,
)
from data_pipelines.samples.placement import blend
from jaxharm.images.bit_depth import from_unit
from jaxharm.images.resize import resize_image

OWN = "own"  # eval.paintings: the records are composites with their paintings
# The painting's record, photograph u8[h,w,3], mask u8[h,w], and a name.
Joined = tuple[Record, np.ndarray, np.ndarray, str]
# Keep the generators of a seed apart (those of samples.py are below 10).
_SAMPLE_TAG, _PAINTING_TAG, _OBJECT_TAG, _PAIRING_TAG, _EVAL_TAG = 10, 11, 12, 13, 14


class PaintedSamples:
    """This process' endless training samples, by number; picklable for worker processes.

    Each pass over the paintings takes them in another order, and so each pass over the photographs;
    with `data.paintings.fixed_pairing` a painting keeps its photograph, number i of a list that the
    seed has shuffled once that with the number i mod N. Where a photograph would be its own
    painting, the next one of another photograph takes its place.

    Args:
        objects: photographs with their masks: a painterly set's (one object is drawn at each use),
            or those of any other set (`real` and its mask).
        paintings: a painterly set's paintings, `TextureSource`, or the plates, else photographs,
            of any other set.
        data: the attributes of `DataConfig`.
        seed, slots: as for `samples.TrainSamples`.

    Raises:
        DatasetValidationError: options or records that do not fit.
    """

    def __init__(
        self,
        objects: Sequence[RecordSource],
        paintings: Sequence[RecordSource],
        data: Any,
        *,
        seed: int,
        slots: Slots,
    ) -> None:
        _check(objects, paintings, data)
        self._objects = objects
        self._paintings = paintings
        self._data = data
        self._seed = seed
        self._slots = slots
        self._painting_order = record_order(paintings, None, seed, _PAINTING_TAG)
        self._object_order = record_order(objects, data.weights, seed, _OBJECT_TAG)
        self._ranks = None
        if data.paintings.fixed_pairing:
            total = sum(len(source) for source in paintings)
            self._ranks = np.random.default_rng((seed, _PAIRING_TAG)).permutation(total)

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, number: int) -> Sample:
        data, position = self._data, self._slots.position(number)
        rng = np.random.default_rng((self._seed, _SAMPLE_TAG, position))
        which, index = self._painting_order[position]
        photo = self._photograph(position, which, index)
        painting = _another(self._paintings[which], index, photo)
        image, mask = _object(photo, rng)
        augment = data.augment
        geometry = draw_geometry(
            mask,
            rng,
            flip=augment.flip,
            crop_scale=augment.crop_scale,
            crop_ratio=augment.crop_ratio,
            keep_background=augment.keep_background,
            image_size=data.image_size,
        )
        size = (data.image_size, data.image_size)
        arrays = _paste(image, mask, geometry, painting, size, data.image_resize, data.mask_resize)
        return {**arrays, "index": np.int32(position % 2**31)}

    def _photograph(self, position: int, which: int, index: int) -> Record:
        if self._ranks is None:
            source, record = self._object_order[position]
            return self._objects[source][record]
        number = sum(len(source) for source in self._paintings[:which]) + index
        chosen = int(self._ranks[number]) % sum(len(source) for source in self._objects)
        for objects in self._objects:
            if chosen < len(objects):
                return objects[chosen]
            chosen -= len(objects)
        raise AssertionError("the number is below the sum of the lengths")


class PaintedEvalSamples:
    """This process' samples of one ordered pass over the paintings, padded as in `EvalSamples`.

    Painting i gets photograph i mod N; which of its objects is drawn depends on i alone.
    """

    def __init__(
        self,
        objects: RecordSource,
        paintings: Sequence[RecordSource],
        *,
        image_size: int | None,
        image_resize: str,
        mask_resize: str,
        slots: Slots,
    ) -> None:
        check_modes(image_resize, mask_resize)
        _check_records([objects], paintings)
        self._objects = objects
        self._paintings = [(source, i) for source in paintings for i in range(len(source))]
        self._image_size = image_size
        self._modes = (image_resize, mask_resize)
        self._slots = slots

    def __len__(self) -> int:
        batches = -(-len(self._paintings) // self._slots.batch_size)
        return batches * self._slots.rows

    def __getitem__(self, number: int) -> Sample:
        position = self._slots.position(number)
        index = min(position, len(self._paintings) - 1)
        painting, image, mask, name = self._join(index)
        side = self._image_size
        size = (side, side) if side else (int(painting["height"]), int(painting["width"]))
        whole = Geometry((0, 0, *mask.shape))
        return {
            **_paste(image, mask, whole, painting, size, *self._modes),
            "index": np.int32(position % 2**31),
            "valid": np.float32(position < len(self._paintings)),
            "composite_id": name,
            "subset": painting["subset"],
        }

    def _join(self, index: int) -> Joined:
        source, place = self._paintings[index]
        photo = self._objects[index % len(self._objects)]
        painting = _another(source, place, photo)
        image, mask = _object(photo, np.random.default_rng((_EVAL_TAG, index)))
        names = [record_id(record).replace("/", "_") for record in (photo, painting)]
        return painting, image, mask, f"{index:05d}_{names[0]}_on_{names[1]}"


class ReadyEvalSamples(PaintedEvalSamples):
    """One ordered pass over ready-made composites whose `background` is the painting.

    They are pasted anew, so that the painting surrounds the object bit for bit.
    """

    def __init__(self, composites: RecordSource, **options: Any) -> None:
        super().__init__(composites, [composites], **options)
        if "background" not in composites[0]:
            raise DatasetValidationError(
                f"{composites!r} has no paintings of its own (eval.paintings={OWN!r}): build it from "
                f"folders comp/, mask/ and style/, or name a set of paintings"
            )

    def _join(self, index: int) -> Joined:
        record = self._objects[index]
        key = "composite" if "composite" in record else "real"
        return record, decode_image(record, key), decode_mask(record), record_id(record)


def _paste(
    image: np.ndarray,
    mask: np.ndarray,
    geometry: Geometry,
    painting: Record,
    size: tuple[int, int],
    image_resize: str,
    mask_resize: str,
) -> Sample:
    """The images of a sample at `size`."""
    modes = {"image_resize": image_resize, "mask_resize": mask_resize}
    resized = apply_geometry({"real": image, "mask": mask}, geometry, size, **modes)
    key = next(key for key in ("style", "background", "real") if key in painting)
    background = resize_image(decode_image(painting, key), size, image_resize)
    alpha = from_unit(resized["mask"][..., 0], np.uint8)
    composite = blend(resized["real"], background, alpha)
    return {
        "composite": composite,
        "mask": resized["mask"],
        "target": composite,
        "background": background,
    }


def _object(record: Record, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A photograph u8[h,w,3] and the mask u8[h,w] of one of its objects, each equally likely."""
    if "content" not in record:
        image, mask = decode_image(record, "real"), decode_mask(record)
    else:
        image, levels = decode_image(record, "content"), decode_mask(record, "mask_levels")
        there = np.flatnonzero(np.bincount(levels.ravel())[1:]) + 1
        chosen = there[rng.integers(len(there))]
        mask = np.where(levels == chosen, np.uint8(255), np.uint8(0))
    if image.shape[:2] != mask.shape:
        raise DatasetValidationError(
            f"record {record_id(record)!r}: image and mask differ in size, {image.shape[:2]} and "
            f"{mask.shape}; build the data set again"
        )
    return image, mask


def _another(source: RecordSource, index: int, photo: Record) -> Record:
    """The painting `index`, or the next one that is not the photograph itself."""
    for step in range(len(source)):
        painting = source[(index + step) % len(source)]
        if _photograph_id(painting) != _photograph_id(photo):
            return painting
    raise DatasetValidationError(
        f"every record of {source!r} is of the photograph {_photograph_id(photo)[1]!r}: an object "
        f"needs another picture to be pasted on"
    )


def _photograph_id(record: Record) -> tuple[str, str]:
    """The same for all composites of a photograph."""
    return record["subset"], record.get("real_id") or record_id(record)


def _check(objects: Sequence[RecordSource], paintings: Sequence[RecordSource], data: Any) -> None:
    """Refuses options that do not fit before a worker meets them."""
    check_modes(data.image_resize, data.mask_resize)
    check_sources(objects, data)
    _check_records(objects, paintings)
    unused = {
        "data.unpaired.enabled": data.unpaired.enabled,
        "data.synthesis.probability": data.synthesis.probability > 0,
        "data.augment.recolor": data.augment.recolor > 0,
        "data.weights with data.paintings.fixed_pairing": data.paintings.fixed_pairing
        and data.weights,
    }
    for option, given in unused.items():
        if given:
            raise DatasetValidationError(
                f"{option} has no meaning for objects on paintings (data.paintings.name="
                f"{data.paintings.name!r}); leave it out"
            )


def _check_records(objects: Sequence[RecordSource], paintings: Sequence[RecordSource]) -> None:
    for source in (*objects, *paintings):
        if not len(source):
            raise DatasetValidationError(f"{source!r} holds no record")
    for source in objects:
        if "style" in source[0]:
            raise DatasetValidationError(f"{source!r} holds paintings: it has no objects to paste")
    for source in paintings:
        if "content" in source[0]:
            raise DatasetValidationError(
                f"{source!r} holds photographs with objects: paintings are in another split "
                f"(data.paintings.split, eval.paintings_split)"
            )

"""Makes painterly composites while reading: an object of a photograph, pasted on a painting.

Photograph and painting are both resized to the same square, so that the object keeps the position
and the share of the area that it has in its photograph. A sample is a function of the seed, its
position in the stream and the two records. Composites are rounded to 8 bits; in the official code
the soft edge of an object is not.

Source: docs/data.md, "Paintings"; docs/papers/propih.md, "What we decided".
"""

from collections.abc import Sequence

import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.record_format import Record, record_id
from data_pipelines.samples.checks import check_modes, check_not_empty
from data_pipelines.samples.decode import decode_image, decode_mask
from data_pipelines.samples.geometry import Geometry, apply_geometry, draw_augmentation
from data_pipelines.samples.options import DataOptions
from data_pipelines.samples.placement import blend
from data_pipelines.samples.stream import (
    ENDLESS,
    OBJECT_ORDER_TAG,
    PAINTED_EVAL_TAG,
    PAINTED_TAG,
    PAINTING_ORDER_TAG,
    PAIRING_TAG,
    ProcessRows,
    RecordSource,
    Sample,
    record_order,
    sample_index,
)
from jaxharm.images.bit_depth import from_unit
from jaxharm.images.resize import resize_image

OWN = "own"  # value of eval.paintings and data.paintings.name: the records are composites with their own paintings
# The painting's record, a photograph u8[h,w,3], the mask of an object u8[h,w], and a name.
Joined = tuple[Record, np.ndarray, np.ndarray, str]


class PaintedSamples:
    """The training samples of one process, without end; picklable for worker processes.

    Every pass over the paintings is in a new order, and so is every pass over the photographs. With
    `data.paintings.fixed_pairing`, a painting always gets the same photograph: number r mod N of
    the N photographs, where r is the painting's place in an order that the seed decides. If a
    painting and a photograph are the same picture, the next painting is used instead.

    Args:
        objects: photographs with masks: of a painterly set (one object is drawn at each use), or of
            any other set (`real` and its mask).
        paintings: the paintings of a painterly set, a `TextureSource`, or the background plates (or
            else photographs) of any other set.
        data: the run's options.
        seed, rows: as for `paired.TrainSamples`.

    Raises:
        DatasetValidationError: the options do not fit the data sets.
    """

    def __init__(
        self,
        objects: Sequence[RecordSource],
        paintings: Sequence[RecordSource],
        data: DataOptions,
        *,
        seed: int,
        rows: ProcessRows,
    ) -> None:
        _check(objects, paintings, data)
        self._objects = objects
        self._paintings = paintings
        self._data = data
        self._seed = seed
        self._rows = rows
        self._painting_order = record_order(paintings, None, seed, PAINTING_ORDER_TAG)
        self._object_order = record_order(objects, data.weights, seed, OBJECT_ORDER_TAG)
        self._ranks = None
        if data.paintings.fixed_pairing:
            # A permutation, not independent draws: photographs are used equally often.
            total = sum(len(source) for source in paintings)
            self._ranks = np.random.default_rng((seed, PAIRING_TAG)).permutation(total)

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, number: int) -> Sample:
        data, position = self._data, self._rows.position(number)
        rng = np.random.default_rng((self._seed, PAINTED_TAG, position))
        which, index = self._painting_order[position]
        photo = self._photograph(position, which, index)
        painting = _other_picture(self._paintings[which], index, photo)
        image, mask = _draw_object(photo, rng)
        geometry = draw_augmentation(mask, rng, data)
        size = (data.image_size, data.image_size)
        arrays = paste(image, mask, geometry, painting, size, data.image_resize, data.mask_resize)
        return {**arrays, "index": sample_index(position)}

    def _photograph(self, position: int, which: int, index: int) -> Record:
        """The photograph whose object is pasted on painting `index` of source `which`."""
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
    """One process' samples of one ordered pass over the paintings, filled up as `EvalSamples`.

    Painting i gets photograph i mod N; which of its objects is used depends on i only.
    """

    def __init__(
        self,
        objects: RecordSource,
        paintings: Sequence[RecordSource],
        *,
        image_size: int | None,
        image_resize: str,
        mask_resize: str,
        rows: ProcessRows,
    ) -> None:
        check_modes(image_resize, mask_resize)
        _check_records([objects], paintings)
        self._objects = objects
        self._paintings = [(source, i) for source in paintings for i in range(len(source))]
        self._image_size = image_size
        self._modes = (image_resize, mask_resize)
        self._rows = rows

    def __len__(self) -> int:
        batches = -(-len(self._paintings) // self._rows.batch_size)
        return batches * self._rows.count

    def __getitem__(self, number: int) -> Sample:
        position = self._rows.position(number)
        index = min(position, len(self._paintings) - 1)
        painting, image, mask, name = self._join(index)
        side = self._image_size
        size = (side, side) if side else (int(painting["height"]), int(painting["width"]))
        whole = Geometry((0, 0, *mask.shape))
        return {
            **paste(image, mask, whole, painting, size, *self._modes),
            "index": sample_index(position),
            "valid": np.float32(position < len(self._paintings)),
            "composite_id": name,
            "subset": painting["subset"],
            "aspect": np.float32(painting["width"] / painting["height"]),
        }

    def _join(self, index: int) -> Joined:
        """Painting number `index` with the photograph, the mask and the name of its composite."""
        source, place = self._paintings[index]
        photo = self._objects[index % len(self._objects)]
        painting = _other_picture(source, place, photo)
        image, mask = _draw_object(photo, np.random.default_rng((PAINTED_EVAL_TAG, index)))
        # The number makes names unique, and saved images sort in the order of the pass.
        names = [record_id(record).replace("/", "_") for record in (photo, painting)]
        return painting, image, mask, f"{index:05d}_{names[0]}_on_{names[1]}"


class ExistingEvalSamples(PaintedEvalSamples):
    """One ordered pass over existing composites whose `background` is their painting.

    Each is pasted again on its painting, so that the pixels around the object equal the painting's
    exactly: those of a composite that was stored as JPEG do not.
    """

    def __init__(
        self,
        composites: RecordSource,
        *,
        image_size: int | None,
        image_resize: str,
        mask_resize: str,
        rows: ProcessRows,
    ) -> None:
        super().__init__(
            composites,
            [composites],
            image_size=image_size,
            image_resize=image_resize,
            mask_resize=mask_resize,
            rows=rows,
        )
        if "background" not in composites[0]:
            raise DatasetValidationError(
                f"{composites!r} has no paintings of its own (eval.paintings={OWN!r}): build it from "
                f"folders comp/, mask/ and style/, or name a set of paintings"
            )

    def _join(self, index: int) -> Joined:
        record = self._objects[index]
        key = "composite" if "composite" in record else "real"
        return record, decode_image(record, key), decode_mask(record), record_id(record)


def paste(
    image: np.ndarray,
    mask: np.ndarray,
    geometry: Geometry,
    painting: Record,
    size: tuple[int, int],
    image_resize: str,
    mask_resize: str,
) -> dict[str, np.ndarray]:
    """The images of a sample; the composite is its own target, because there is no ground truth."""
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


def _draw_object(record: Record, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A photograph u8[h,w,3] and the mask u8[h,w] of one of its objects, each equally likely."""
    if "content" not in record:
        image, mask = decode_image(record, "real"), decode_mask(record)
    else:
        image, levels = decode_image(record, "content"), decode_mask(record, "mask_levels")
        present = np.flatnonzero(np.bincount(levels.ravel())[1:]) + 1
        chosen = present[rng.integers(len(present))]
        mask = np.where(levels == chosen, np.uint8(255), np.uint8(0))
    if image.shape[:2] != mask.shape:
        raise DatasetValidationError(
            f"record {record_id(record)!r}: image and mask differ in size, {image.shape[:2]} and "
            f"{mask.shape}; build the data set again"
        )
    return image, mask


def _other_picture(source: RecordSource, index: int, photo: Record) -> Record:
    """Painting number `index`, or the next one that is not the photograph itself.

    They can be the same picture if one data set gives both objects and backgrounds.
    """
    for step in range(len(source)):
        painting = source[(index + step) % len(source)]
        if _photograph_id(painting) != _photograph_id(photo):
            return painting
    raise DatasetValidationError(
        f"every record of {source!r} is of the photograph {_photograph_id(photo)[1]!r}: an object "
        f"needs another picture to be pasted on"
    )


def _photograph_id(record: Record) -> tuple[str, str]:
    """Identifies a photograph: the same for all its composites."""
    return record["subset"], record.get("real_id") or record_id(record)


def _check(
    objects: Sequence[RecordSource], paintings: Sequence[RecordSource], data: DataOptions
) -> None:
    """Refuses options that do not fit the data sets before any reader starts."""
    check_modes(data.image_resize, data.mask_resize)
    _check_records(objects, paintings)
    unused = {
        "data.unpaired.enabled": data.unpaired.enabled,
        "data.synthesis.probability": data.synthesis.probability > 0,
        "data.augment.recolor": data.augment.recolor > 0,
        "data.shuffle_targets": data.shuffle_targets,
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
    """Refuses sources that are empty, or that have paintings for objects or the reverse."""
    for source in (*objects, *paintings):
        check_not_empty(source)
    for source in objects:
        if "style" in source[0]:
            raise DatasetValidationError(f"{source!r} holds paintings: it has no objects to paste")
    for source in paintings:
        if "content" in source[0]:
            raise DatasetValidationError(
                f"{source!r} holds photographs with objects: paintings are in another split "
                f"(data.paintings.split, eval.paintings_split)"
            )

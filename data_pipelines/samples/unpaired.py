"""Adds a second composite, which has no ground truth, to samples for adversarial training.

Source: docs/data.md, "Unpaired composites"; docs/papers/pih.md, "Training".
"""

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.record_format import Record
from data_pipelines.samples.checks import check_not_empty
from data_pipelines.samples.decode import decode_record
from data_pipelines.samples.geometry import (
    Geometry,
    apply_geometry,
    draw_augmentation,
    draw_geometry,
)
from data_pipelines.samples.jitter import draw_jitter
from data_pipelines.samples.options import DataOptions, UnpairedOptions
from data_pipelines.samples.placement import Shift, blend, move, place
from data_pipelines.samples.stream import RecordSource
from jaxharm.images.background import fill_background
from jaxharm.images.bit_depth import from_unit

Arrays = dict[str, np.ndarray]


class UnpairedStream:
    """Adds `unpaired_composite`, `unpaired_mask` and `unpaired_background` to finished samples.

    A share of the second composites are existing ones. For the others, the foreground of a random
    photograph replaces the sample's own on the sample's background plate. Without plates it is
    pasted onto the sample's photograph, and the plate is the new composite with its foreground
    filled in, as at inference. (If it were pasted onto a filled-in photograph, the fill would be
    visible around a foreground that is smaller than the sample's own.)

    Args:
        sources: the data sets of the run; foregrounds are drawn from them.
        composites: data sets of existing composites: of kind `photos`, or paired ones, whose real
            photographs are ignored.
        data: the run's options.

    Raises:
        DatasetValidationError: options of `data.unpaired` that do not fit.
    """

    def __init__(
        self, sources: Sequence[RecordSource], composites: Sequence[RecordSource], data: DataOptions
    ) -> None:
        _check(data.unpaired, composites)
        self._sources = sources
        self._composites = composites
        self._data = data

    def add(self, arrays: Mapping[str, np.ndarray], rng: np.random.Generator) -> Arrays:
        """Adds the second composite, and shifts and jitters the sample's pair in the same way.

        Both must have passed the same processing, or a discriminator would tell them apart by it.

        Args:
            arrays: `composite`, `real` u8[h,w,3], `mask` f32[h,w,1] and perhaps `background`.
            rng: the generator that everything is drawn from.
        """
        if rng.random() < self._data.unpaired.composites_share:
            unpaired = self._existing(rng)
        else:
            unpaired = self._placed(arrays, rng)
        return {**self._pair(arrays, rng), **unpaired}

    def _existing(self, rng: np.random.Generator) -> Arrays:
        """An existing composite, augmented like the pairs."""
        record = _draw(self._composites, rng)
        paired = "composite" in record
        images = decode_record(record, skip=("real",) if paired else ())
        if not paired:
            images["composite"] = images.pop("real")
        # A composite without foreground is a plain photograph: no example for a discriminator.
        geometry = draw_augmentation(images["mask"], rng, self._data, keep_background=0.0)
        arrays = self._resized(images, geometry)
        return self._named(arrays["composite"], arrays["mask"], arrays.get("background"))

    def _placed(self, arrays: Mapping[str, np.ndarray], rng: np.random.Generator) -> Arrays:
        """A composite of a random photograph's foreground and the sample's background."""
        images = decode_record(_draw(self._sources, rng), skip=("composite", "background"))
        geometry = draw_geometry(images["mask"], rng, flip=self._data.augment.flip)
        partner = self._resized(images, geometry)
        image, mask = place(
            partner["real"], _as_u8(partner["mask"]), _as_u8(arrays["mask"]), self._shift(rng)
        )
        plate = arrays.get("background")
        ground = arrays["real"] if plate is None else plate
        composite = blend(self._jitter(image, rng), ground, mask)
        return self._named(composite, _as_float(mask), plate)

    def _pair(self, arrays: Mapping[str, np.ndarray], rng: np.random.Generator) -> Arrays:
        """The sample's pair, processed like the second composite.

        With a plate, composite and target are shifted alike and pasted over it. Without a plate,
        the target stays the photograph, and only the composite's foreground is jittered.
        """
        composite, target, mask = arrays["composite"], arrays["real"], _as_u8(arrays["mask"])
        if "background" in arrays:
            plate = arrays["background"]
            shift = self._shift(rng)
            shifted = move(mask, shift=shift)
            if not shifted.any():  # the foreground would leave the picture
                shift, shifted = (0, 0), mask
            composite, target = move(composite, shift=shift), move(target, shift=shift)
            target, mask = blend(target, plate, shifted), shifted
        else:
            plate = composite
        if self._data.unpaired.jitter_pairs:
            composite = self._jitter(composite, rng)
        composite = blend(composite, plate, mask)
        return {**arrays, "composite": composite, "real": target, "mask": _as_float(mask)}

    def _shift(self, rng: np.random.Generator) -> Shift:
        reach = self._data.unpaired.translate
        # From -reach to reach - 1, as in the reference; numpy needs a range even for reach 0.
        x, y = rng.integers(-reach, max(reach, 1), 2)
        return int(x), int(y)

    def _jitter(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        options = self._data.unpaired
        return draw_jitter(rng, brightness=options.brightness, contrast=options.contrast)(image)

    def _resized(self, images: Mapping[str, np.ndarray], geometry: Geometry) -> Arrays:
        data = self._data
        size = (data.image_size, data.image_size)
        modes = {"image_resize": data.image_resize, "mask_resize": data.mask_resize}
        return apply_geometry(images, geometry, size, **modes)

    def _named(
        self, composite: np.ndarray, mask: np.ndarray, background: np.ndarray | None
    ) -> Arrays:
        """The keys of the second composite; fills in its foreground if it has no background."""
        if background is None:
            background = fill_background(composite, mask, self._data.unpaired.plate)
        return {
            "unpaired_composite": composite,
            "unpaired_mask": mask,
            "unpaired_background": background,
        }


def _draw(sources: Sequence[RecordSource], rng: np.random.Generator) -> Record:
    """Draws a record from all sources together, each equally likely."""
    number = int(rng.integers(sum(len(source) for source in sources)))
    for source in sources:
        if number < len(source):
            return source[number]
        number -= len(source)
    raise AssertionError("the number is below the sum of the lengths")


def _as_u8(mask: np.ndarray) -> np.ndarray:
    return from_unit(mask[..., 0], np.uint8)


def _as_float(mask: np.ndarray) -> np.ndarray:
    return mask[..., None].astype(np.float32) / np.float32(255)


def _check(unpaired: UnpairedOptions, composites: Sequence[RecordSource]) -> None:
    """Refuses options that do not fit each other or the composites."""
    share = unpaired.composites_share
    if share > 0 and not composites:
        raise DatasetValidationError(
            f"data.unpaired.composites_share is {share} and data.unpaired.composites names no "
            f"data set; name one or set the share to 0"
        )
    if composites and share == 0:
        raise DatasetValidationError(
            f"data.unpaired.composites {unpaired.composites!r} would not be used: set "
            f"data.unpaired.composites_share to their share of the second stream, in (0,1]"
        )
    for source in composites:
        check_not_empty(source)
    reach = {"brightness": unpaired.brightness, "contrast": unpaired.contrast}
    for name, value in reach.items():
        if not 0 <= value < 1:
            raise DatasetValidationError(f"data.unpaired.{name} {value} is not in [0,1)")

"""From a position in a stream to a finished sample: what the loader's readers compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.record_format import Record, record_id
from data_pipelines.samples import recoloring as synthesis
from data_pipelines.samples.decode import decode_image, decode_mask, decode_record
from data_pipelines.samples.geometry import Geometry, apply_geometry, draw_geometry, recolor_alike
from data_pipelines.samples.unpaired import UnpairedStream
from jaxharm.images.resize import IMAGE_MODES, MASK_MODES

Sample = dict[str, Any]
# Keep the generators of a seed apart.
_ORDER_TAG, _SAMPLE_TAG, _EVAL_TAG, _UNPAIRED_TAG = 0, 1, 2, 3
_ENDLESS = 2**62  # samples; the readers add to it
_REFERENCE_SIDE = 128  # pixels of a reference photograph that suffice for color statistics


class RecordSource(Protocol):
    """Random access to undecoded records, as `sources.open_source` returns."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Record: ...


@dataclass(frozen=True)
class Slots:
    """The places of one process in the global stream: `rows` rows of each batch from `first`."""

    batch_size: int  # global
    start: int  # batches already taken
    first: int
    rows: int

    def position(self, number: int) -> int:
        """Position in the global stream of this process' sample `number`."""
        step, row = divmod(number, self.rows)
        return (self.start + step) * self.batch_size + self.first + row


class TrainSamples:
    """This process' endless training samples, by number; picklable for worker processes."""

    def __init__(
        self,
        sources: Sequence[RecordSource],
        data: Any,
        *,
        seed: int,
        slots: Slots,
        composites: Sequence[RecordSource] = (),
    ) -> None:
        _check(sources, data)
        self._sources = sources
        self._data = data
        self._seed = seed
        self._slots = slots
        self._order = record_order(sources, data.weights, seed)
        self._unpaired = None
        if data.unpaired.enabled:
            self._unpaired = UnpairedStream(sources, composites, data)

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, number: int) -> Sample:
        position = self._slots.position(number)
        rng = np.random.default_rng((self._seed, _SAMPLE_TAG, position))
        which, index = self._order[position]
        arrays = self._make(self._sources[which], index, rng)
        if self._unpaired:
            own = np.random.default_rng((self._seed, _UNPAIRED_TAG, position))
            arrays = self._unpaired.add(arrays, own)
        return {**_named(arrays), "index": np.int32(position % 2**31)}

    def _make(self, source: RecordSource, index: int, rng: np.random.Generator) -> Sample:
        """The images of a pair, by the names of a record."""
        data = self._data
        record = source[index]
        made = rng.random() < data.synthesis.probability or "composite" not in record
        images = decode_record(record, skip=("composite",) if made else ())
        augment = data.augment
        geometry = draw_geometry(
            images["mask"],
            rng,
            flip=augment.flip,
            crop_scale=augment.crop_scale,
            crop_ratio=augment.crop_ratio,
            keep_background=augment.keep_background,
            image_size=data.image_size,
        )
        size = (data.image_size, data.image_size)
        modes = {"image_resize": data.image_resize, "mask_resize": data.mask_resize}
        arrays = apply_geometry(images, geometry, size, **modes)
        if rng.random() < augment.recolor:
            arrays = recolor_alike(arrays, rng)
        if made:
            # A soft edge, as if the recolored photograph had been resized, whatever the mask mode.
            edge = {"image_resize": data.image_resize, "mask_resize": "linear"}
            soft = apply_geometry({"mask": images["mask"]}, geometry, size, **edge)["mask"]
            reference = reference_pixels(source[int(rng.integers(len(source)))])
            arrays["composite"] = synthesis.recolor(
                arrays["real"], soft, rng, reference=reference, families=data.synthesis.families
            )
        return arrays


class EvalSamples:
    """This process' samples of one ordered pass, padded with copies of the last record."""

    def __init__(
        self,
        source: RecordSource,
        *,
        image_size: int | None,
        image_resize: str,
        mask_resize: str,
        slots: Slots,
    ) -> None:
        check_modes(image_resize, mask_resize)
        if not len(source):
            raise DatasetValidationError(f"{source!r} holds no record")
        check_pairs(source, "eval.paintings")
        self._source = source
        self._image_size = image_size
        self._modes = {"image_resize": image_resize, "mask_resize": mask_resize}
        self._slots = slots

    def __len__(self) -> int:
        batches = -(-len(self._source) // self._slots.batch_size)
        return batches * self._slots.rows

    def __getitem__(self, number: int) -> Sample:
        position = self._slots.position(number)
        index = min(position, len(self._source) - 1)
        record = self._source[index]
        images = decode_record(record)
        height, width = images["mask"].shape
        size = (self._image_size, self._image_size) if self._image_size else (height, width)
        if "composite" not in images:
            rng = np.random.default_rng((_EVAL_TAG, index))
            mask = images["mask"].astype(np.float32) / np.float32(255)
            images["composite"] = synthesis.recolor(images["real"], mask, rng)
        arrays = apply_geometry(images, Geometry((0, 0, height, width)), size, **self._modes)
        return {
            **_named(arrays),
            "index": np.int32(position % 2**31),
            "valid": np.float32(position < len(self._source)),
            "composite_id": record_id(record),
            "subset": record["subset"],
        }


def reference_pixels(record: Record) -> np.ndarray:
    """Foreground pixels of a photograph at reduced size, u8[n,3], as a color reference."""
    side = min(record["height"], record["width"])
    reduce = next((r for r in (8, 4, 2) if side // r >= _REFERENCE_SIDE), 1)
    image, mask = decode_image(record, "real", reduce=reduce), decode_mask(record)
    rows = np.arange(image.shape[0]) * mask.shape[0] // image.shape[0]
    columns = np.arange(image.shape[1]) * mask.shape[1] // image.shape[1]
    return image[mask[rows[:, None], columns] >= 128]


def _named(arrays: Mapping[str, np.ndarray]) -> Sample:
    """Record keys -> batch keys."""
    return {"target" if key == "real" else key: value for key, value in arrays.items()}


def record_order(
    sources: Sequence[RecordSource], weights: Any, seed: int, tag: int = _ORDER_TAG
) -> Any:
    """Position -> (source, record); each source is reshuffled at every pass over it.

    Args:
        weights: share of each source; None: by size.
        tag: keeps several orders of one seed apart.
    """
    import grain

    streams = []
    for which, source in enumerate(sources):
        entropy = np.random.SeedSequence((seed, tag, which))
        numbers = grain.MapDataset.range(len(source)).seed(int(entropy.generate_state(1)[0]))
        streams.append(numbers.shuffle().repeat(None).map(_Tag(which)))
    if len(streams) == 1:
        return streams[0]
    shares = weights or [len(source) for source in sources]
    return grain.MapDataset.mix(streams, weights=[share / sum(shares) for share in shares])


class _Tag:
    """record -> (source, record), picklable."""

    def __init__(self, which: int) -> None:
        self._which = which

    def __call__(self, record: int) -> tuple[int, int]:
        return self._which, record


def _check(sources: Sequence[RecordSource], data: Any) -> None:
    """Refuses options that do not fit the data before a worker meets them."""
    check_modes(data.image_resize, data.mask_resize)
    synthesis.check_families(data.synthesis.families)
    check_sources(sources, data)
    for source in sources:
        check_pairs(source, "data.paintings.name")
    if len({"background" in source[0] for source in sources}) > 1:
        raise DatasetValidationError(
            f"data.name={data.name!r} joins data sets with and without background plates; "
            f"their batches cannot be mixed"
        )


def check_sources(sources: Sequence[RecordSource], data: Any) -> None:
    """Refuses empty sources and weights that do not go with them."""
    if data.weights and (len(data.weights) != len(sources) or min(data.weights) <= 0):
        raise DatasetValidationError(
            f"data.weights {data.weights} needs one positive number for each of the "
            f"{len(sources)} data sets in data.name={data.name!r}"
        )
    for source in sources:
        if not len(source):
            raise DatasetValidationError(f"{source!r} holds no record")


def check_pairs(source: RecordSource, remedy: str) -> None:
    """Refuses objects and paintings that nobody joins to composites."""
    if "real" not in source[0]:
        raise DatasetValidationError(
            f"{source!r} holds objects or paintings, no composites: name the paintings in {remedy}"
        )


def check_modes(image_resize: str, mask_resize: str) -> None:
    """Refuses unknown names of resize modes."""
    for mode, known in ((image_resize, IMAGE_MODES), (mask_resize, MASK_MODES)):
        if mode not in known:
            raise DatasetValidationError(f"unknown resize mode {mode!r}; one of {', '.join(known)}")

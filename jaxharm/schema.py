"""One batch: the single definition of what travels from the data to the networks.

Loaders make a `HostBatch` of numpy arrays; the training loop and the predictors place its device
fields on the accelerators, and from there on the same structure holds `jax.Array`s. Nobody adds
anything to it on the way: what a loss needs beside images is in its context or its extras
(jaxharm/interfaces.py). Arrays have the batch first and (height, width, channel) inside; images
are sRGB-encoded RGB. This file loads no JAX, so that data workers stay light.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

A = TypeVar("A")
HostArray: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Field:
    """The promise of a loader for one array.

    Attributes:
        dtype: as loaded; systems see images as float32 in [0,1].
        shape: without the batch's axis; None stands for height or width of the batch.
        meaning: one line for readers and errors.
    """

    dtype: npt.DTypeLike
    shape: tuple[int | None, ...]
    meaning: str


_IMAGE, _MASK = (None, None, 3), (None, None, 1)
# What accelerators receive. "unpaired" is a `Pair`, described after it.
_ON_DEVICES = {
    "background": Field(np.uint8, _IMAGE, "the plate without the object, or a painting, 0..255"),
    "composite": Field(np.uint8, _IMAGE, "the image to harmonize, 0..255"),
    "index": Field(np.int32, (), "position of the sample in the run's stream of samples"),
    "label": Field(np.int32, (), "what data.labels says of the composite"),
    "mask": Field(np.float32, _MASK, "foreground, 0..1, 1 = foreground"),
    "target": Field(np.uint8, _IMAGE, "the real image, 0..255"),
    "unpaired.background": Field(np.uint8, _IMAGE, "its plate, 0..255"),
    "unpaired.composite": Field(np.uint8, _IMAGE, "a composite without ground truth, 0..255"),
    "unpaired.mask": Field(np.float32, _MASK, "its foreground, 0..1"),
}
# What stays on the host: only evaluation batches have it.
_ON_HOST = {
    "aspect": Field(np.float32, (), "width over height of the picture before it was resized"),
    "composite_id": Field(np.object_, (), "name of the composite, str"),
    "subset": Field(np.object_, (), "name of its sub-dataset, str"),
    "valid": Field(np.float32, (), "1 for a record, 0 for a copy that fills the last batch"),
}
_FIELDS = {**_ON_DEVICES, **_ON_HOST}
_TRAINING = frozenset({"composite", "mask", "target", "index"})
# The attributes of `Batch` that are part of JAX's tree; all others never leave the host.
DEVICE_FIELDS = tuple(sorted({name.partition(".")[0] for name in _ON_DEVICES}))
HOST_FIELDS = tuple(_ON_HOST)


@dataclass(frozen=True, eq=False)
class Pair(Generic[A]):
    """A composite that has no ground truth, for training against a discriminator.

    Attributes:
        composite, mask, background: as in `Batch`.
    """

    composite: A
    mask: A
    background: A | None = None

    def arrays(self) -> dict[str, A]:
        """The arrays that are present, by name."""
        return {name: value for name, value in _items(self) if value is not None}

    def map_images(self, function: Callable[[A], A]) -> "Pair[A]":
        """The pair with `function` applied to every image and mask."""
        return Pair(**{name: function(value) for name, value in self.arrays().items()})


@dataclass(frozen=True, eq=False)
class Batch(Generic[A]):
    """Arrays of b samples; dtypes and ranges as a loader gives them are those of `Field`.

    Training batches have `composite`, `mask`, `target`, `index`; evaluation batches add `valid`,
    `composite_id`, `subset`. The others are there where the data have them.

    Attributes:
        composite: u8[b,h,w,3].
        mask: f32[b,h,w,1] in [0,1].
        target: u8[b,h,w,3]; the composite itself where there is no truth.
        background: u8[b,h,w,3], the plate or the painting.
        unpaired: a second composite per sample, without ground truth.
        index: i32[b].
        label: i32[b], of the composites that a label file names.
        valid: f32[b]; host only, as all that follow.
        composite_id, subset: str[b], object arrays.
        aspect: f32[b], width / height of the stored pictures, which may have been squashed since.
    """

    composite: A
    mask: A
    target: A | None = None
    background: A | None = None
    unpaired: Pair[A] | None = None
    index: A | None = None
    label: A | None = None
    valid: HostArray | None = None
    composite_id: HostArray | None = None
    subset: HostArray | None = None
    aspect: HostArray | None = None

    def replace(self, **changes: Any) -> Self:
        """The batch with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def for_devices(self) -> "Batch[A]":
        """The part of the batch that goes to accelerators."""
        return Batch(**{name: getattr(self, name) for name in DEVICE_FIELDS})

    def map_images(self, function: Callable[[A], A]) -> Self:
        """The batch with `function` applied to every image and mask."""
        found = {
            name: None if value is None else function(value)
            for name in ("composite", "mask", "target", "background")
            for value in [getattr(self, name)]
        }
        unpaired = self.unpaired and self.unpaired.map_images(function)
        return self.replace(**found, unpaired=unpaired)

    def arrays(self) -> dict[str, A | HostArray]:
        """The arrays that are present, by name; those of a pair as "unpaired.composite" etc."""
        found: dict[str, A | HostArray] = {
            name: value
            for name, value in _items(self)
            if value is not None and not isinstance(value, Pair)
        }
        second = {} if self.unpaired is None else self.unpaired.arrays()
        return found | {f"unpaired.{name}": value for name, value in second.items()}


HostBatch: TypeAlias = Batch[HostArray]


def present(value: A | None, name: str) -> A:
    """`value`, an optional field of a batch that the caller cannot do without.

    Raises:
        ValueError: the batch does not have it.
    """
    if value is None:
        raise ValueError(f"the batch has no {name}")
    return value


def validate(batch: HostBatch, *, evaluation: bool = False) -> None:
    """Raises ValueError naming the first array that is missing or has another dtype or shape."""
    arrays = batch.arrays()
    # Nothing is computed from the aspect: it may be left out.
    required = _TRAINING | set(HOST_FIELDS if evaluation else ()) - {"aspect"}
    missing = sorted(required - set(arrays))
    if missing:
        raise ValueError(f"the batch lacks {', '.join(missing)}")
    unexpected = sorted(set(arrays) & set(HOST_FIELDS))
    if unexpected and not evaluation:
        raise ValueError(f"a training batch has {', '.join(unexpected)}, fields of evaluation only")
    size = batch.composite.shape[:3]
    for name, value in arrays.items():
        field = _FIELDS[name]
        expected = (size[0], *(size[i + 1] if n is None else n for i, n in enumerate(field.shape)))
        if value.dtype != field.dtype or value.shape != expected:
            raise ValueError(
                f"batch.{name} ({field.meaning}) is {value.dtype}{list(value.shape)}, "
                f"not {np.dtype(field.dtype)}{list(expected)}"
            )


def _items(data: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(data, field.name)) for field in dataclasses.fields(data)]

"""The batch contract: what loaders give and what systems may rely on.

All arrays are numpy, batch first, (height, width, channel) inside. Images are sRGB-encoded RGB.
"""

from collections.abc import Mapping

import numpy as np

# key -> (dtype, trailing shape with None for height and width, meaning)
TRAIN_KEYS = {
    "composite": (np.uint8, (None, None, 3), "composite image, 0..255"),
    "mask": (np.float32, (None, None, 1), "foreground mask, 0..1, 1 = foreground"),
    "target": (np.uint8, (None, None, 3), "real image, 0..255"),
    "index": (np.int32, (), "position of the sample in the run's global sample stream"),
}
# Evaluation batches add these; ids and subset stay on the host.
EVAL_KEYS = {
    "valid": (np.float32, (), "1 for a record, 0 for padding of the last batch"),
    "composite_id": (np.object_, (), "str"),
    "subset": (np.object_, (), "str"),
}
# Optional: a plate without the foreground object (u8, as composite), or a painting; and, all three
# or none, a composite that has no ground truth, with its mask and its plate.
OPTIONAL_KEYS = {
    "background": (np.uint8, (None, None, 3), "background plate, 0..255"),
    "unpaired_composite": (np.uint8, (None, None, 3), "composite without ground truth, 0..255"),
    "unpaired_mask": (np.float32, (None, None, 1), "its foreground mask, 0..1"),
    "unpaired_background": (np.uint8, (None, None, 3), "its background plate, 0..255"),
}
DEVICE_KEYS = (
    *("composite", "mask", "target", "background", "index", "valid"),
    *("unpaired_composite", "unpaired_mask", "unpaired_background"),
)


def validate(batch: Mapping[str, np.ndarray], *, evaluation: bool = False) -> None:
    """Raises ValueError naming the first key that is missing or has another dtype or shape."""
    required = {**TRAIN_KEYS, **(EVAL_KEYS if evaluation else {})}
    missing = sorted(set(required) - set(batch))
    if missing:
        raise ValueError(f"batch lacks {', '.join(missing)}")
    unknown = sorted(set(batch) - set(required) - set(OPTIONAL_KEYS))
    if unknown:
        raise ValueError(f"batch has unknown keys {', '.join(unknown)}")
    size = batch["composite"].shape[:3]
    for key, (dtype, shape, meaning) in {**required, **OPTIONAL_KEYS}.items():
        if key not in batch:
            continue
        value = batch[key]
        expected = (size[0], *(size[i + 1] if n is None else n for i, n in enumerate(shape)))
        if value.dtype != dtype or value.shape != expected:
            raise ValueError(
                f"batch[{key!r}] ({meaning}) is {value.dtype}{list(value.shape)}, "
                f"not {np.dtype(dtype)}{list(expected)}"
            )


def device_arrays(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The part of a batch that goes to the accelerator."""
    return {key: batch[key] for key in DEVICE_KEYS if key in batch}

"""Decodes the images of a record, with errors that name the record.

Training and evaluation decode with OpenCV only: it is faster than Pillow, and one decoder for both
means that they see the same pixels of a JPEG.
"""

import cv2
import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.record_format import Record, record_id

_IMAGE_KEYS = ("composite", "real", "background")


def decode_image(record: Record, key: str, *, reduce: int = 1) -> np.ndarray:
    """Decodes an image of a record.

    Orientation tags are ignored, because the builders have applied them.

    Args:
        record: a record of `reading.open_source`.
        key: "composite", "real", "background", or, of a painterly set, "content" or "style".
        reduce: 1, 2, 4 or 8; decodes at 1/reduce of the size, much faster for JPEG.

    Returns:
        u8[h,w,3], RGB.

    Raises:
        DatasetValidationError: the bytes are not an image; names the record and the key.
    """
    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[reduce]
    return cv2.cvtColor(_decode(record, key, flags), cv2.COLOR_BGR2RGB)


def decode_mask(record: Record, key: str = "mask") -> np.ndarray:
    """Decodes a mask: u8[h,w], 0..255, not made binary; errors as in `decode_image`.

    Args:
        key: "mask", or "mask_levels" of a painterly set: every object has its own gray level.
    """
    return _decode(record, key, cv2.IMREAD_GRAYSCALE)


def decode_record(record: Record, *, skip: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Decodes every image of a record and checks that the sizes agree.

    Args:
        record: with encoded `real`, `mask` and, where the set has them, `composite`, `background`.
        skip: keys of images that will not be used.

    Returns:
        The same keys -> u8[h,w,3], and `mask` u8[h,w].

    Raises:
        DatasetValidationError: unreadable bytes, or sizes that differ.
    """
    # Only what is used: decoding is slow.
    images = {k: decode_image(record, k) for k in _IMAGE_KEYS if k in record and k not in skip}
    images["mask"] = decode_mask(record)
    sizes = {key: image.shape[:2] for key, image in images.items()}
    if len(set(sizes.values())) > 1:
        raise DatasetValidationError(
            f"record {record_id(record)!r}: image sizes (height, width) differ: {sizes}; build the "
            f"data set again"
        )
    return images


def _decode(record: Record, key: str, flags: int) -> np.ndarray:
    """Decodes one image with OpenCV: u8[h,w] or, BGR, u8[h,w,3]."""
    data = np.frombuffer(record[key], np.uint8)
    image = None
    if data.size:  # OpenCV raises on an empty buffer, and returns None for damaged data
        try:
            image = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            image = None  # reported below like any other unreadable file
    if image is None:
        raise DatasetValidationError(
            f"record {record_id(record)!r}: its {key} ({data.size} bytes) is not a readable image; "
            f"build the data set again"
        )
    return image

"""Decoding the images of a record: exact pixels, and errors that name the record."""

import numpy as np
import pytest
from support.memory_source import MemorySource

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.samples.decode import decode_image, decode_mask, decode_record


def test_decoded_records_are_the_encoded_pixels() -> None:
    source = MemorySource(background=True)
    decoded, expected = decode_record(source[3]), source.images(3)
    assert set(decoded) == set(expected)
    for key, image in expected.items():
        np.testing.assert_array_equal(decoded[key], image, err_msg=key)
    assert "composite" not in decode_record(source[3], skip=("composite",))
    assert decode_image(source[3], "real", reduce=2).shape == (20, 28, 3)


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff\xe0 cut short"])
@pytest.mark.parametrize("key", ["real", "mask"])
def test_unreadable_bytes_name_the_record(key: str, data: bytes) -> None:
    record = {**MemorySource(name="park")[2], key: data}
    with pytest.raises(DatasetValidationError, match=rf"'park2_1_1': its {key} .* not a readable"):
        decode_record(record)


def test_differing_sizes_name_the_record() -> None:
    small = MemorySource(height=20)[1]
    with pytest.raises(DatasetValidationError, match=r"'memory1_1_1': image sizes .*differ"):
        decode_record({**MemorySource()[1], "mask": small["mask"]})


def test_masks_keep_their_soft_values() -> None:
    import cv2

    soft = np.arange(256, dtype=np.uint8).reshape(16, 16)
    encoded = cv2.imencode(".png", soft)[1].tobytes()
    np.testing.assert_array_equal(decode_mask({"mask": encoded}), soft)
    equal = cv2.imencode(".png", np.stack([soft] * 3, -1))[1].tobytes()
    np.testing.assert_array_equal(decode_mask({"mask": equal}), soft)

"""Generated textures: a picture of its own for every number."""

import cv2
import numpy as np
import pytest

from data_pipelines.samples.textures import TextureSource, texture


def test_textures_are_paintings_by_number():
    source = TextureSource(3, 48)
    record = source[1]
    stored = cv2.imdecode(np.frombuffer(record["style"], np.uint8), 1)[..., ::-1]
    np.testing.assert_array_equal(stored, texture(1, 48))
    assert np.any(stored != texture(2, 48))
    assert np.std(stored, axis=(0, 1)).max() > 5
    with pytest.raises(IndexError):
        source[3]

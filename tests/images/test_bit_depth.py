"""Floats to stored integers and back."""

import numpy as np
import pytest

from jaxharm.images.bit_depth import from_unit, quantize, to_unit


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_scaling_to_unit_and_back_is_exact(dtype):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (np.linspace(0, top, 256).astype(dtype)).reshape(16, 16, 1)
    back = from_unit(to_unit(image), dtype)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, image, rtol=1e-7)


def test_rounding_is_named():
    values = np.array([-3.0, 0.4, 0.6, 1.5, 2.5, 254.99, 400.0])
    np.testing.assert_array_equal(quantize(values), [0, 0, 1, 2, 2, 255, 255])
    np.testing.assert_array_equal(quantize(values, rounding="truncate"), [0, 0, 0, 1, 2, 254, 255])
    half = np.float32([0.5])
    assert from_unit(half, np.uint8) == 128
    assert from_unit(half, np.uint8, rounding="truncate") == 127
    assert from_unit(half, np.uint16) == 32768


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="int32"):
        quantize(np.zeros(3), np.int32)
    with pytest.raises(ValueError, match="'floor'"):
        quantize(np.zeros(3), rounding="floor")

"""What a call accepts, and the sentence for what it does not."""

import numpy as np
import pytest

from jaxharm.errors import InputError
from jaxharm.inference.pixels import check_inputs

IMAGE = np.random.default_rng(0).integers(0, 255, (6, 5, 3), np.uint8)
MASK = np.eye(6, 5, dtype=np.float32)


@pytest.mark.parametrize(
    ("composite", "background", "reason"),
    [
        (IMAGE[..., 0], None, r"the composite has shape \[6, 5\]"),
        (IMAGE.astype(np.int32), None, "the composite is int32"),
        (
            IMAGE.astype(np.float32),
            None,
            r"the composite spans 0 to 2\d\d, not 0 to 1: .*divide it by 255",
        ),
        (IMAGE[:0], None, "the composite has shape"),
        (IMAGE, IMAGE[:3], "the background is 5x3 pixels and the composite 5x6"),
    ],
)
def test_bad_images_are_refused(composite, background, reason):
    with pytest.raises(InputError, match=reason):
        check_inputs(composite, MASK, background)


def test_cut_out_is_pasted_by_its_alpha():
    alpha = np.uint8([[0, 255, 51]])
    cutout = np.dstack([np.full((1, 3, 3), 200, np.uint8), alpha])
    plate = np.full((1, 3, 3), 100, np.uint8)
    inputs = check_inputs(cutout, None, plate)
    np.testing.assert_array_equal(inputs.composite[..., 0], [[100, 200, 120]])
    np.testing.assert_allclose(inputs.mask, [[0, 1, 0.2]])
    assert inputs.alpha is None
    with pytest.raises(InputError, match="no mask given"):
        check_inputs(cutout, None, None)
    with pytest.raises(InputError, match="no mask given"):
        check_inputs(cutout[..., :3], None, plate)

"""Networks that need a multiple of pixels, on images of any size."""

from types import SimpleNamespace

import numpy as np
import pytest
from support.sets import batches, images

from jaxharm.evaluation.padding import padded_predict
from jaxharm.interfaces import Output


@pytest.mark.parametrize(
    ("side", "multiple", "minimum", "seen"),
    [(16, 8, 16, 16), (17, 8, 16, 32), (33, 20, 16, 160), (16, 8, 64, 64), (24, 8, 16, 24)],
)
def test_sizes_are_fitted_and_cut_back(side, multiple, minimum, seen):
    sizes = []

    def predict(batch):
        sizes.append({x.shape[1:3] for x in (batch.composite, batch.mask, batch.target)})
        return Output(image=batch.composite.astype(np.float32) / 255)

    batch = next(batches(images(2, side=side), 2))
    model = SimpleNamespace(size_multiple=multiple, min_size=minimum)
    image = padded_predict(predict, model)(batch).image
    assert sizes == [{(seen, seen)}]
    np.testing.assert_array_equal(image, batch.composite.astype(np.float32) / 255)

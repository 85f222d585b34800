"""Figures of networks that need a size of their own, for images of any size."""

from types import SimpleNamespace

import numpy as np
import pytest
from support.sets import batches, images

from jaxharm import registry
from jaxharm.evaluation.fitting import fitted_figures
from jaxharm.inference.loading import runner_class

NAMES = [name for name in registry.list_models() if name != "toy"]
PARAMETRIC = [name for name in NAMES if runner_class(registry.get(name)).parametric]
PIXELS = [name for name in NAMES if name not in PARAMETRIC]


def shown(name, side, **sizes):
    """The batch, its figures (the composites themselves), and the sizes that these were asked at."""
    sides = []

    def figures(batch):
        sides.append({x.shape[1:3] for x in (batch.composite, batch.mask, batch.target)})
        scale = 255 if batch.composite.dtype == np.uint8 else 1
        return {"it": batch.composite.astype(np.float32) / scale, "mask": batch.mask}

    batch = next(batches(images(2, side=side), 2))
    return batch, fitted_figures(figures, name, SimpleNamespace(**sizes))(batch), sides


@pytest.mark.parametrize(
    ("side", "multiple", "minimum", "seen"),
    [(16, 8, 16, 16), (17, 8, 16, 32), (33, 20, 16, 160), (16, 8, 64, 64), (24, 8, 16, 24)],
)
def test_sizes_are_padded_and_cut_back(side, multiple, minimum, seen):
    batch, found, sides = shown(PIXELS[0], side, size_multiple=multiple, min_size=minimum)
    assert sides == [{(seen, seen)}]
    np.testing.assert_array_equal(found["it"], batch.composite.astype(np.float32) / 255)
    np.testing.assert_array_equal(found["mask"], batch.mask)


@pytest.mark.parametrize("side", [16, 40])
def test_a_parametric_model_is_asked_at_its_own_size(side):
    batch, found, sides = shown(PARAMETRIC[0], side, default_size=24)
    assert sides == [{(24, 24)}]
    assert found["it"].shape == batch.composite.shape
    assert found["mask"].shape == batch.mask.shape
    # The object is where it was, once.
    assert found["mask"].sum() == pytest.approx(batch.mask.sum(), rel=0.15)

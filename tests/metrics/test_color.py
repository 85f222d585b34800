"""The three color-difference formulas against the golden values, binary and soft weights."""

import dataclasses
import json

import numpy as np
import pytest

from jaxharm import metrics


@pytest.mark.golden
@pytest.mark.parametrize("name", ["float_prediction", "perfect", "soft_mask", "empty_mask"])
@pytest.mark.parametrize("formula", ["76", "94", "2000"])
def test_color_difference(shared, name, formula):
    folder = shared / "golden" / "metrics"
    arrays = np.load(folder / "triplets.npz")
    manifest = json.loads((folder / "manifest.json").read_text())
    golden = next(t["metrics"] for t in manifest["triplets"] if t["name"] == name)
    images = [arrays[f"{name}/{k}"][None].astype(np.float32) for k in ("pred", "real", "mask")]
    prediction, target, mask = images[0] / 255, images[1] / 255, images[2][..., None]
    soft = dataclasses.replace(metrics.get_protocol("default_256"), mask="soft")
    suffix = {"76": "76", "94": "94", "2000": "00"}[formula]
    whole = metrics.delta_e(prediction, target, mask, formula=formula)
    part = metrics.fdelta_e(prediction, target, mask, formula=formula, protocol=soft)
    np.testing.assert_allclose(whole, float(golden[f"skimage.dE{suffix}"]), atol=1e-4, rtol=0)
    np.testing.assert_allclose(part, float(golden[f"skimage.fdE{suffix}"]), atol=1e-4, rtol=0)

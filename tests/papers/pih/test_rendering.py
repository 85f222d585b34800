"""The rendering at full size gives the reference's picture."""

import numpy as np
import pytest

from jaxharm.ops import apply_curves


@pytest.mark.golden
@pytest.mark.parametrize("shaded", [False, True])
def test_golden_rendering(shared, shaded):
    golden = np.load(shared / "golden/pih/highres_and_edit.npz")
    image, background = (
        golden[f"{k}_u8"][None] / np.float32(255) for k in ("composite", "background")
    )
    mask = golden["mask_u8"][None, ..., None] / np.float32(255)
    shading = golden["shading_up"] if shaded else None
    out = apply_curves(image, golden["curves"], mask=mask, background=background, shading=shading)
    np.testing.assert_allclose(
        out, golden["final" if shaded else "intermediate"], rtol=1e-4, atol=1e-5
    )

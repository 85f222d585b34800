"""Every metric against the published evaluation codes (golden triplets)."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm import metrics

# Protocol with the formulas of a published code: golden metric -> ours.
_ERRORS = {"MSE": "mse", "fMSE": "fmse", "PSNR": "psnr"}
_ALL = {**_ERRORS, "fPSNR": "fpsnr", "SSIM": "ssim", "fSSIM": "fssim"}
_NO_ERRORS = {k: v for k, v in _ALL.items() if k not in ("MSE", "fMSE")}
_PROTOCOLS = {
    "default_256": {**_ALL, "dE00": "de00", "fdE00": "fde00"},
    "issam_256": _ERRORS,
    "phnet_256": {**_ERRORS, "fPSNR": "fpsnr", "SSIM": "ssim"},
    "pctnet_native": {**_ERRORS, "SSIM": "ssim"},
    "dccf_native": {**_ERRORS, "SSIM": "ssim"},
    "cdtnet_256": _NO_ERRORS,
    "harmonytransformer_256": _NO_ERRORS,
    "iharmony4_eval_256": _ERRORS,
    "harmonizer_256": {"PSNR": "psnr"},
}
# The goldens call a source by the first word of its protocol.
_SOURCES = {protocol.split("_")[0]: (protocol, keys) for protocol, keys in _PROTOCOLS.items()}
_NAMES = (
    "uint8_composite",
    "float_prediction",
    "perfect",
    "tiny_foreground",
    "dark_target",
    "soft_mask",
    "empty_mask",
)


@pytest.fixture(scope="module")
def triplets(shared):
    folder = shared / "golden" / "metrics"
    manifest = json.loads((folder / "manifest.json").read_text())
    arrays = np.load(folder / "triplets.npz")
    values = {t["name"]: t["metrics"] for t in manifest["triplets"]}
    assert set(values) == set(_NAMES)
    return {
        name: (
            arrays[f"{name}/pred"].astype(np.float32)[None] / np.float32(255),
            arrays[f"{name}/real"].astype(np.float32)[None] / np.float32(255),
            arrays[f"{name}/mask"].astype(np.float32)[None, ..., None],
            values[name],
        )
        for name in _NAMES
    }


def _check(ours, golden, key):
    golden = float(golden)
    if not np.isfinite(golden):
        np.testing.assert_equal(float(ours), golden, err_msg=key)
    elif "MSE" in key:
        np.testing.assert_allclose(ours, golden, rtol=1e-5, atol=1e-9, err_msg=key)
    else:
        atol = 1e-5 if "SSIM" in key else 1e-4
        np.testing.assert_allclose(ours, golden, rtol=0, atol=atol, err_msg=key)


# float32 compiles for every shape: all shapes under the default, one shape under the others.
_CASES = [("numpy", source, name) for source in _SOURCES for name in _NAMES]
_CASES += [("jax", "default", name) for name in _NAMES]
# Slow: one of them agrees to 1e-5 only with fused multiply-adds, which `make test` leaves out.
_CASES += [
    pytest.param("jax", source, "dark_target", marks=pytest.mark.slow)
    for source in _SOURCES
    if source != "default"
]


@pytest.mark.golden
@pytest.mark.parametrize(("backend", "source", "name"), _CASES)
def test_published_values(triplets, backend, source, name):
    protocol, keys = _SOURCES[source]
    prediction, target, mask, golden = triplets[name]
    if golden.get(f"{source}.fMSE") == "ValueError":
        with pytest.raises(ValueError, match="threshold the mask"):
            metrics.measure(prediction, target, mask, protocol=protocol)
        mask = (mask > 0.5).astype(np.float32)
        keys = {k: v for k, v in keys.items() if k not in ("fMSE", "fPSNR")}
    convert = np.asarray if backend == "numpy" else jnp.asarray
    values = metrics.measure(*map(convert, (prediction, target, mask)), protocol=protocol)
    for key, ours in keys.items():
        if f"{source}.{key}" in golden:
            _check(values[ours][0], golden[f"{source}.{key}"], f"{source}.{key}")

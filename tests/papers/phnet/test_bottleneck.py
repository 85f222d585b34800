"""PHNet's feature extractor and gate against their goldens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.golden_recipe import fill, region_norm_override
from support.goldens import load_golden

from jaxharm.papers.phnet.bottleneck import PatchFeatureExtractor, SqueezeExcitation

PFE = PatchFeatureExtractor(grid=3, mix_init=(0.9, 0.1), epsilon=1e-8, background_divisor=255.0)
CASES = ["normal", "corner_fg", "full_fg", "empty_fg", "one_pixel", "interleaved"]


def nhwc(value):
    return jnp.asarray(np.moveaxis(value, 1, -1))


def recipe(name, *shape):
    return fill(name, shape, override=region_norm_override)


def assert_relative(got, want, tolerance, name):
    """L2 distance relative to the L2 norm."""
    distance = np.linalg.norm(np.asarray(got) - np.asarray(want))
    assert distance <= tolerance * np.linalg.norm(want) + 1e-12, name


@pytest.fixture(scope="module")
def arrays(shared):
    return np.load(shared / "golden" / "phnet" / "pfe_se.npz")


@pytest.fixture(scope="module")
def extractor_params():
    root = "feature_extractor"
    return {
        "weights": recipe(f"{root}.patch_harmonizer.grid_weights", 2),
        "head": {
            "kernel": recipe(f"{root}.head.0.weight", 3, 6, 3, 3).transpose(2, 3, 1, 0),
            "bias": recipe(f"{root}.head.0.bias", 3),
        },
    }


@jax.jit
def run_extractor(params, x, mask, cotangent):
    def run(params, x):
        features, composite, transferred = PFE.apply({"params": params}, x, mask)
        return features, (composite, transferred)

    features, pullback, rest = jax.vjp(run, params, x, has_aux=True)
    return features, *rest, *pullback(cotangent)


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_golden_extractor(arrays, extractor_params, case):
    features, composite, transferred, grads, dx = run_extractor(
        extractor_params,
        nhwc(arrays["x"]),
        nhwc(arrays[f"{case}_mask"]),
        nhwc(arrays["cotangent"]),
    )
    for got, name in ((features, "out"), (composite, "composite"), (transferred, "fg_harm")):
        want = nhwc(arrays[f"{case}_{name}"])
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5, err_msg=name)
    expected = {
        "patch_harmonizer.grid_weights": grads["weights"],
        "head.0.weight": grads["head"]["kernel"].transpose(3, 2, 0, 1),
        "head.0.bias": grads["head"]["bias"],
    }
    for name, got in expected.items():
        assert_relative(got, arrays[f"{case}_grad_{name}"], 1e-4, name)
    if case == "interleaved":  # elsewhere the released code divides by zero
        assert_relative(dx, nhwc(arrays[f"{case}_grad_x"]), 1e-4, "x")
    assert bool(jnp.isfinite(dx).all())


@pytest.mark.golden
def test_golden_gate():
    arrays = load_golden("gate")
    channels, reduced = 16, 2
    params = {
        name: {
            "kernel": recipe(f"SE_block.fc.{layer}.weight", out, inputs).T,
            "bias": recipe(f"SE_block.fc.{layer}.bias", out),
        }
        for name, layer, out, inputs in (
            ("squeeze", 0, reduced, channels),
            ("excite", 2, channels, reduced),
        )
    }
    gate = SqueezeExcitation(reduction=8)

    @jax.jit
    def run(x, features, cotangent):
        out, pullback = jax.vjp(lambda *a: gate.apply({"params": params}, *a), x, features)
        return out, *pullback(cotangent)

    out, dx, dfeatures = run(*(nhwc(arrays[f"se_{n}"]) for n in ("x", "aux_in", "cotangent")))
    np.testing.assert_allclose(out, nhwc(arrays["se_out"]), rtol=0, atol=1e-5)
    assert_relative(dx, nhwc(arrays["se_grad_x"]), 1e-4, "x")
    assert_relative(dfeatures, nhwc(arrays["se_grad_aux"]), 1e-4, "features")

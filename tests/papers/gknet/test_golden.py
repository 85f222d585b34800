"""GKNet's goldens: kernel heads, fusion, masked attention, positions, layers, the reference net."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.golden_recipe import fill_all
from support.goldens import load_golden, load_layout
from support.random_variables import QUICK_COMPILE

from jaxharm import registry
from jaxharm.convert import from_torch
from jaxharm.losses.pixel import foreground_normalized_error
from jaxharm.nn.resample import double, resize
from jaxharm.papers.gknet.kernels import SelectiveCorrelationFusion, kernels_of, modulate
from jaxharm.papers.gknet.lre import (
    Attention,
    EncoderLayer,
    allowed_keys,
    sincos_positions,
)
from jaxharm.papers.gknet.model import GKNetConfig

pytestmark = pytest.mark.golden
TINY = GKNetConfig.tiny()


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "golden/gknet"


@pytest.fixture(autouse=True)
def exact_products():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.mark.parametrize("param", ["raw", "delta", "softmax"])
def test_kernel_head(param):
    golden = load_golden("kernel_head")
    with jax.enable_x64(True):
        x, mask = jnp.asarray(golden["x"]), jnp.asarray(golden["mask"])[..., None]
        kernels = kernels_of(jnp.asarray(golden["raw"]), 3, param)
        y = modulate(x, kernels, mask, TINY)
        gated = modulate(x, kernels, mask, dataclasses.replace(TINY, mod_fg_gate=True))
    # A softmax over the taps is always taken in float32.
    tolerance = 2e-6 if param == "softmax" else 1e-10
    np.testing.assert_allclose(kernels, golden[f"kernels_{param}"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(y, golden[f"y_{param}"], rtol=0, atol=tolerance)
    if param == "delta":
        np.testing.assert_allclose(gated, golden["y_delta_gated"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", ["sk_gap", "sk_gapcorr", "sum", "concat"])
def test_fusion(mode):
    golden = load_golden("correlation_fusion")
    names = {"proj_g": "proj_g", "proj_l": "proj_l"}
    if mode == "concat":
        names["cat"] = "cat"
    elif mode != "sum":
        names |= {"fc": "fc_corr" if mode == "sk_gapcorr" else "fc", "fc_g": "fc_g", "fc_l": "fc_l"}
    params = {}
    for ours, theirs in names.items():
        kernel = golden[f"w/{theirs}.weight"].T.astype(np.float32)
        kernel = kernel if ours.startswith("fc") else kernel[None, None]
        bias = golden[f"w/{ours}.bias"].astype(np.float32)
        params[ours] = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    config = dataclasses.replace(
        TINY,
        scf_mode=mode.split("_")[0],
        scf_descriptor="gap_corr" if mode == "sk_gapcorr" else "gap",
        scf_min_dim=4,
    )
    y, captured = SelectiveCorrelationFusion(config, 8).apply(
        {"params": params},
        jnp.float32(golden["global_in"]),
        jnp.float32(golden["local_in"]),
        mutable=["intermediates"],
    )
    np.testing.assert_allclose(y, golden[f"{mode}_out"], rtol=0, atol=2e-6)
    if mode.startswith("sk"):
        weights = captured["intermediates"]["weights"][0]
        np.testing.assert_allclose(weights, golden[f"{mode}_weights"], rtol=0, atol=2e-6)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("mode", ["none", "fg_to_bg", "all_to_bg"])
def test_masked_attention(mode):
    golden = load_golden("masked_attention")
    foreground = jnp.asarray(golden["token_mean"]) > 0.5
    np.testing.assert_array_equal(foreground, golden["token_fg"])
    y, captured = Attention(dataclasses.replace(TINY, lre_heads=2)).apply(
        {"params": attention_params(golden, "w/")},
        jnp.float32(golden["x"]),
        jnp.float32(golden["pos"])[None],
        allowed_keys(foreground, mode),
        mutable=["intermediates"],
    )
    np.testing.assert_allclose(y, golden[f"y_{mode}"], rtol=0, atol=2e-6)
    weights = captured["intermediates"]["weights"][0]
    np.testing.assert_allclose(weights, golden[f"attn_{mode}"], rtol=0, atol=2e-6)
    np.testing.assert_array_equal(weights == 0, golden[f"attn_{mode}"] == 0)


def attention_params(state, prefix=""):
    out = {"kernel": state[f"{prefix}out_proj.weight"].T, "bias": state[f"{prefix}out_proj.bias"]}
    return jax.tree.map(
        jnp.float32,
        {
            "in_kernel": state[f"{prefix}in_proj_weight"].T,
            "in_bias": state[f"{prefix}in_proj_bias"],
            "out": out,
        },
    )


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_encoder_layer(norm, act):
    tag = f"{norm}_{act}/"
    golden = {
        k.removeprefix(tag): v for k, v in load_golden("encoder_layer").items() if k.startswith(tag)
    }
    params = {"attn": attention_params(golden, "w/self_attn.")}
    for name in ("linear1", "linear2", "norm1", "norm2"):
        weight, bias = golden[f"w/{name}.weight"].T, golden[f"w/{name}.bias"]
        params[name] = {"kernel" if "linear" in name else "scale": weight, "bias": bias}
    changes = {"lre_norm_first": norm == "pre", "lre_act": act, "lre_heads": 4, "lre_ffn": 32}
    layer = EncoderLayer(dataclasses.replace(TINY, lre_dim=16, **changes))
    x = jnp.float32(golden["x"])
    b, t, d = x.shape
    nowhere = jnp.zeros((1, t, d))
    visible = jnp.broadcast_to(~jnp.asarray(golden["key_padding"])[:, None], (b, t, t))

    @jax.jit
    def run(x):
        def at(x, positions=nowhere, allowed=None):
            return layer.apply({"params": params}, x, positions, allowed, train=False)

        y, pullback = jax.vjp(at, x)
        dx = pullback(jnp.float32(golden["dy"]))[0]
        return y, dx, at(x, allowed=visible), at(x, jnp.float32(golden["pos"])[None])

    for name, value in zip(("y", "dx", "y_key_padding", "y_pos_qk"), run(x), strict=True):
        np.testing.assert_allclose(value, golden[name], rtol=0, atol=2e-6, err_msg=name)


def test_positions_and_doubling():
    golden = load_golden("positions")
    np.testing.assert_allclose(sincos_positions(3, 5, 8), golden["pos_3x5x8"], rtol=0, atol=1e-7)
    channels = [*range(8), *range(128, 136)]
    large = next(value for name, value in golden.items() if name.startswith("pos_16x16x256"))
    np.testing.assert_allclose(
        sincos_positions(16, 16, 256)[..., channels], large, rtol=0, atol=1e-7
    )
    golden = load_golden("doubling")
    x = jnp.float32(golden["x"])
    np.testing.assert_allclose(double(x), golden["up2_align_corners_false"], rtol=0, atol=2e-6)
    aligned = resize(x, (6, 8), "aligned")
    np.testing.assert_allclose(aligned, golden["up2_align_corners_true"], rtol=0, atol=2e-6)


def test_loss(folder):
    golden = np.load(folder / "loss_metrics.npz")
    real, pred, raw = (jnp.float32(golden[k]) for k in ("real", "pred", "raw"))
    mask = jnp.float32(golden["mask"])[..., None]
    for name, image, area in (
        ("fn_mse_amin100", pred, 100.0),
        ("fn_mse_amin1000", pred, 1000.0),
        ("fn_mse_unblended_amin100", raw, 100.0),
    ):
        for i, expected in enumerate(golden[name]):
            one = slice(i, i + 1)
            total, count = foreground_normalized_error(
                image[one], real[one], mask[one], min_area=area
            )
            np.testing.assert_allclose(total / count, expected, rtol=2e-6)


# The reference net ----------------------------------------------------------------------------

REFERENCE = {"base": 8, "lre_dim": 32, "lre_heads": 4, "lre_depth": 2, "lre_ffn": 64}


def reference_override(name, shape, rng):
    if len(shape) != 4:
        return None
    factor = np.sqrt(2.0)
    if name.endswith("head.weight"):
        factor = 0.25
    elif name in ("blend.weight", "rgb.weight"):
        factor = 0.5
    return rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:])) * factor


@pytest.fixture(scope="module")
def reference():
    layout = load_layout("gknet")
    state = fill_all(layout["state"], override=reference_override)
    return layout, state, from_torch("gknet", state, **REFERENCE)


def test_reference_layout(reference):
    layout, state, _ = reference
    config = registry.model_config("gknet", **REFERENCE)
    names = registry.get("gknet").torch_names()(config)
    assert sorted([*(rule.torch_name for rule in names.rules), *names.dropped]) == sorted(state)
    trained = [rule.torch_name for rule in names.rules if rule.path[0] == "params"]
    assert sum(state[name].size for name in trained) == layout["parameters"]


@pytest.mark.slow
def test_reference_net(folder, reference):
    _, _, variables = reference
    manifest = json.loads((folder / "manifest.json").read_text())["reference_net"]
    golden = np.load(folder / "reference_net.npz")
    model = registry.create_model("gknet", **REFERENCE)
    composite, target = jnp.asarray(golden["comp"]), jnp.asarray(golden["real"])
    mask = jnp.asarray(golden["mask"])[..., None]
    names = registry.get("gknet").torch_names()(model.config)
    paths = {rule.torch_name: rule.path for rule in names.rules}

    def run(params):
        output, captured = model.apply(
            {**variables, "params": params}, composite, mask, mutable=["intermediates"]
        )
        errors = jnp.stack(
            [
                foreground_normalized_error(
                    output.image[i : i + 1], target[i : i + 1], mask[i : i + 1]
                )[0]
                for i in range(2)
            ]
        )
        return jnp.mean(errors), (output, captured["intermediates"], errors)

    step = jax.jit(jax.value_and_grad(run, has_aux=True), compiler_options=QUICK_COMPILE)
    (_, (output, inner, errors)), grads = step(variables["params"])
    found = {
        "out": output.image,
        "raw": output.aux["raw"],
        "e4": inner["e4"][0],
        "lre": output.aux["reference"],
        "alpha": inner["alpha"][0],
        "d0": inner["d0"][0],
    }
    for level, kernels in zip((3, 2, 1), output.aux["kernels"], strict=True):
        found[f"scf_weights_{level}"] = inner[f"kpb{level}"]["scf"]["weights"][0]
        found[f"kern{level}_crop4x4"] = kernels[:, :4, :4]
        for name in (f"p{level}", f"d{level}_pre", f"d{level}"):
            found[name] = inner[name][0]
    for name, value in found.items():
        tolerance = 1e-5 if name == "out" else 2e-4
        np.testing.assert_allclose(value, golden[name], rtol=0, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(errors, golden["fn_mse"], rtol=1e-4)
    norms = {}
    for name, expected in manifest["grad_norms"].items():
        leaf = grads
        for part in paths[name][1:]:
            leaf = leaf[part]
        norms[name] = float(jnp.linalg.norm(leaf.ravel()))
        assert norms[name] == pytest.approx(expected, rel=1e-3), name
    total = float(jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(grads))))
    assert total == pytest.approx(manifest["grad_norm_total"], rel=1e-3)

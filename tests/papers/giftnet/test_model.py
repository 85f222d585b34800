"""GiftNet: the network of the specification, its modules, every option, degenerate masks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.golden_recipe import fill, fill_all, style_override
from support.goldens import load_golden, load_layout
from support.random_variables import QUICK_COMPILE, random_variables

from jaxharm import registry
from jaxharm.convert import from_torch
from jaxharm.errors import InputError
from jaxharm.nn.imagenet import normalize
from jaxharm.papers.giftnet.gift import CodeMap, Gift, ModulatedConv, Style, pooled
from jaxharm.papers.giftnet.model import GiftNet, GiftNetConfig
from jaxharm.weights.portable import variable_shapes

TINY = GiftNetConfig.tiny()
EVERYWHERE = ("skip", "out", "concat", "up", "bottleneck", "encoder")
# The rows of the ablation, and each option that is left open.
OPTIONS = {
    "default": {},
    "skip only": {"sites": ("skip",)},
    "out only": {"sites": ("out",)},
    "encoder": {"sites": ("encoder",)},
    "everywhere": {"sites": EVERYWHERE},
    "nowhere": {"sites": ()},
    "local": {"guidance": "local"},
    "unmodulated": {"guidance": "none"},
    "background code": {"pool": "background"},
    "two-part code": {"pool": "fg_bg_concat", "code_mlp": False},
    "local average as code": {"guidance": "local", "code_mlp": False},
    "one convolution": {"num_convs": 1},
    "residual": {"residual": True, "demodulate": False},
    "no attention, no fusion": {"ssam": False, "image_fusion": False},
}


def nhwc(value):
    return jnp.asarray(np.moveaxis(value, 1, -1))


@pytest.fixture(scope="module")
def listing():
    return load_layout("giftnet")


@pytest.fixture(scope="module")
def state(listing):
    return fill_all(listing["canonical_parameter_list"], override=style_override)


@pytest.mark.golden
def test_golden_network(shared, state):
    """Output, code, transformed skips and decoder blocks; the output in training mode."""
    arrays = np.load(shared / "golden/giftnet/spec_giftnet.npz")
    model, variables = registry.create_model("giftnet"), from_torch("giftnet", state)
    composite, mask = arrays["composite_u8"] / np.float32(255), arrays["mask"]

    @jax.jit
    def run(variables, composite, mask):
        output, captured = model.apply(variables, composite, mask, mutable=["intermediates"])
        trained, _ = model.apply(variables, composite, mask, train=True, mutable=["batch_stats"])
        return output, captured["intermediates"], trained.aux["raw"]

    output, captured, trained = run(variables, composite, mask)
    bottleneck = output.aux["encoder"][3]
    whole = {
        "eval_out": normalize(output.aux["raw"]),
        "eval_code": output.aux["codes"]["global"],
        "eval_pooled": bottleneck.mean((1, 2)),
    }
    parts = {"eval_enc3": bottleneck}
    for d in range(3):
        parts[f"eval_skip{d}"] = output.aux["transformed_skips"][d]
        parts[f"eval_block{d}_pre"] = captured[f"decoded{d}"][0]
        parts[f"eval_block{d}"] = captured[f"out{d}"][0]
    whole |= {name: value[:, 1::4, 1::4] for name, value in parts.items()}
    for name, value in whole.items():
        np.testing.assert_allclose(value, nhwc(arrays[name]), rtol=0, atol=5e-5, err_msg=name)
    np.testing.assert_allclose(
        normalize(trained), nhwc(arrays["train_out"]), rtol=0, atol=1e-3, err_msg="train"
    )


@pytest.mark.golden
def test_layout_is_that_of_the_specification_and_strict(listing, state):
    names = registry.get("giftnet").torch_names()(GiftNetConfig())
    ours = [rule.torch_name for rule in names.rules]
    assert sorted([*ours, *names.dropped]) == sorted(state)
    trained = [rule.torch_name for rule in names.rules if rule.path[0] == "params"]
    count = sum(state[name].size for name in trained)
    assert count == listing["parameters"] == registry.get("giftnet").parameters
    broken = {k: v for k, v in state.items() if k != "gift_skip.1.conv2.kernel"}
    with pytest.raises(InputError, match=r"1 missing \(gift_skip.1.conv2.kernel\)"):
        from_torch("giftnet", broken)
    with pytest.raises(InputError, match=r"24 unknown \(gift_out"):
        from_torch("giftnet", state, sites=("skip",))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_has_a_layout(option):
    config = dataclasses.replace(TINY, **OPTIONS[option])
    rules = registry.get("giftnet").torch_names()(config).rules
    assert {"/".join(rule.path) for rule in rules} == set(variable_shapes("giftnet", config))
    assert len({rule.torch_name for rule in rules}) == len(rules)


def test_options_change_the_parameters_as_published():
    counts = {
        name: sum(
            int(np.prod(shape))
            for key, shape in variable_shapes(
                "giftnet", dataclasses.replace(GiftNetConfig(), **changes)
            ).items()
            if key.startswith("params/")
        )
        for name, changes in OPTIONS.items()
        if name in ("default", "skip only", "nowhere", "unmodulated", "local")
    }
    modules, code = 1_005_312, 131_584
    assert counts["default"] == 2_185_340 + modules + code
    assert counts["nowhere"] == 2_185_340
    assert counts["skip only"] == 2_185_340 + modules // 2 + code
    styles = 2 * 2 * sum(257 * c for c in (128, 64, 32))
    assert counts["unmodulated"] == 2_185_340 + modules - styles
    local = 2 * sum(256 * c + 256 for c in (128, 64, 32))  # their own first layers
    assert counts["local"] == 2_185_340 + modules + 256 * 257 + local


# The GIFT module -------------------------------------------------------------------------------


def style_params(prefix, features):
    return {
        "kernel": fill(f"{prefix}weight.weight", (features, 12)).T,
        "bias": fill(f"{prefix}bias", (features,)),
    }


def block_params(case, features):
    """The official style block `case` on 6 channels (its noise scale is never used)."""
    kernel = fill(f"{case}.conv.weight.weight", (features, 6, 3, 3))
    return {
        "kernel": kernel.transpose(2, 3, 1, 0),
        "bias": fill(f"{case}.bias", (features,)),
        "style": style_params(f"{case}.to_style.", 6),
    }


@pytest.mark.golden
def test_golden_module():
    """Two official style blocks, merged by the mask, with gradients towards input and code."""
    golden = load_golden("modulated_conv")
    params = {f"conv{i}": block_params(f"twoblock.style_block{i}", 6) for i in (1, 2)}
    x, code, mask = nhwc(golden["x"]), jnp.asarray(golden["w"]), nhwc(golden["mask"])

    @jax.jit
    def run(x, code):
        def apply(x, code, mask=mask):
            return Gift().apply({"params": params}, x, mask, code)[0]

        y, pullback = jax.vjp(apply, x, code)
        b, h, w, c = y.shape
        upstream = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(b, c, h, w)
        return apply(x, code, jnp.ones_like(mask)), y, *pullback(jnp.moveaxis(upstream, 1, -1))

    unmasked, y, dx, dw = run(x, code)
    np.testing.assert_allclose(unmasked, nhwc(golden["twoblock_y"]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(y, nhwc(golden["twoblock_masked"]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(dx, nhwc(golden["twoblock_masked_dx"]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dw, golden["twoblock_masked_dw"], rtol=1e-4, atol=1e-4)


@pytest.mark.golden
def test_golden_layers():
    golden = load_golden("modulated_conv")
    scales = Style(6).apply({"params": style_params("eqlinear.", 6)}, golden["w"])
    np.testing.assert_allclose(scales, golden["eqlinear_y"], rtol=0, atol=1e-5)
    block = {"params": block_params("styleblock", 5)}
    y, _ = ModulatedConv(5).apply(block, nhwc(golden["x"]), golden["w"])
    np.testing.assert_allclose(y, nhwc(golden["styleblock_y"]), rtol=0, atol=1e-5)

    layers = {
        name: {
            "kernel": fill(f"map_net.net.{i}.weight", (256, 256)).T,
            "bias": fill(f"map_net.net.{i}.bias", (256,)),
        }
        for name, i in (("global_fc0", 0), ("fc1", 2))
    }
    mean = pooled(nhwc(golden["map_in"]), None, "all")
    code = CodeMap(256).apply({"params": layers}, mean, "global")
    np.testing.assert_allclose(code, golden["map_y"], rtol=0, atol=1e-5)


def test_module_leaves_the_background_alone():
    rng = np.random.default_rng(0)
    x, code = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((2, 6, 6, 4), (2, 5)))
    mask = jnp.asarray(rng.random((2, 6, 6, 1)) > 0.5, jnp.float32)
    params = Gift().init(jax.random.key(0), x, mask, code)
    y, scales = Gift().apply(params, x, mask, code)
    np.testing.assert_array_equal(np.where(mask == 0, y, 0), np.where(mask == 0, x, 0))
    assert float(jnp.abs((y - x) * mask).max()) > 0.1
    assert [s.shape for s in scales] == [(2, 4), (2, 4)]


def test_pooling_of_regions_and_of_empty_ones():
    x = jnp.arange(8.0).reshape(1, 2, 2, 2)
    mask = jnp.asarray([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
    assert pooled(x, mask, "foreground").tolist() == [[0, 1]]
    assert pooled(x, mask, "background").tolist() == [[4, 5]]
    assert pooled(x, mask, "fg_bg_concat").tolist() == [[0, 1, 4, 5]]
    assert pooled(x, mask, "all").tolist() == [[3, 4]]
    assert pooled(x, 0 * mask, "fg_bg_concat").tolist() == [[0, 0, 3, 4]]


# The tiny network ------------------------------------------------------------------------------


def example(size=(16, 24)):
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.random((2, *size, 3)), jnp.float32)
    return image, jnp.asarray(rng.random((2, *size, 1)) > 0.6, jnp.float32)


@functools.cache
def variables_of(config):
    return random_variables(GiftNet(config), *example())


def run(config, image, mask):
    """The output of the tiny network, in inference."""
    apply = jax.jit(GiftNet(config).apply, compiler_options=QUICK_COMPILE)
    return apply(variables_of(config), image, mask)


@functools.cache
def gradients_of(config):
    """A compiled function (params, mask) -> gradients in training mode."""
    model, variables, (image, _) = GiftNet(config), variables_of(config), example()

    def gradients(params, mask):
        def loss(params):
            output, _ = model.apply(
                {**variables, "params": params}, image, mask, train=True, mutable=["batch_stats"]
            )
            return jnp.mean(jnp.square(output.aux["raw"] - image))

        return jax.grad(loss)(params)

    return jax.jit(gradients, compiler_options=QUICK_COMPILE)


# A foreground of one pixel vanishes at some level: half a pixel beside the aligned corners.
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hard", "empty", "full", "one pixel"])
def test_gradients_are_finite_and_reach_every_parameter(kind):
    config = dataclasses.replace(TINY, pool="fg_bg_concat")
    mask = example()[1]
    one = jnp.zeros_like(mask).at[:, 1, 1].set(1.0)
    mask = {"hard": mask, "empty": 0 * mask, "full": 0 * mask + 1, "one pixel": one}[kind]
    grads = gradients_of(config)(variables_of(config)["params"], mask)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert bool(jnp.isfinite(grad).all()), jax.tree_util.keystr(path)
    if kind == "hard":
        for name in ("code_map", "gift_skip0", "gift_skip2", "gift_out0", "gift_out2"):
            for path, grad in jax.tree_util.tree_leaves_with_path(grads[name]):
                assert float(jnp.abs(grad).max()) > 0, (name, path)


@pytest.mark.slow
def test_all_sites_and_local_codes_run_and_return_their_codes():
    config = dataclasses.replace(TINY, sites=EVERYWHERE, guidance="local", residual=True)
    output = run(config, *example())
    places = {f"{site}{d}" for site in ("skip", "out", "concat", "up") for d in range(3)}
    places |= {f"encoder{i}" for i in range(4)} | {"bottleneck"}
    assert set(output.aux["codes"]) == set(output.aux["scales"]) == places
    assert [a.shape for a in output.aux["scales"]["concat2"]] == [(2, 8), (2, 8)]
    assert bool(jnp.isfinite(output.image).all())
    assert float(output.image.min()) >= 0
    assert float(output.image.max()) <= 1


def test_without_skip_modules_the_skips_are_the_encoders_maps():
    config = dataclasses.replace(TINY, sites=("out",))
    aux = run(config, *example()).aux
    for skip, feature in zip(aux["transformed_skips"], aux["encoder"][2::-1], strict=True):
        np.testing.assert_array_equal(skip, feature)


def test_an_empty_mask_leaves_the_skips_alone():
    image, mask = example()
    aux = run(TINY, image, 0 * mask).aux
    for skip, feature in zip(aux["transformed_skips"], aux["encoder"][2::-1], strict=True):
        np.testing.assert_array_equal(skip, feature)


@pytest.mark.slow
def test_initial_scales_are_about_one_and_kernels_of_unit_variance():
    init = jax.jit(GiftNet(TINY).init, compiler_options=QUICK_COMPILE)
    params = init(jax.random.key(0), *example())
    layer = params["params"]["gift_skip0"]["conv1"]
    np.testing.assert_array_equal(layer["style"]["bias"], 1)
    np.testing.assert_array_equal(layer["bias"], 0)
    for kernel in (layer["kernel"], layer["style"]["kernel"]):
        assert float(kernel.std()) == pytest.approx(1, rel=0.2)
    conv = params["params"]["encoder3"]["conv1"]
    assert float(conv["kernel"].std()) == pytest.approx((9 * 32) ** -0.5, rel=0.05)
    np.testing.assert_array_equal(conv["bias"], 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sites", ("skip", "skip")),
        ("sites", ("decoder",)),
        ("guidance", "both"),
        ("pool", "mean"),
        ("num_convs", 0),
        ("code_dim", 0),
    ],
)
def test_impossible_options_are_named(field, value):
    with pytest.raises(InputError, match=f"GiftNetConfig.{field}="):
        dataclasses.replace(TINY, **{field: value})

"""GKNet: published parameter counts, every option, identity at the start, the background, sizes."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.random_variables import QUICK_COMPILE, random_variables

from jaxharm import registry
from jaxharm.errors import InputError
from jaxharm.nn.resample import double, resize
from jaxharm.papers.gknet import lre as gknet_lre
from jaxharm.papers.gknet.kernels import correlation
from jaxharm.papers.gknet.lre import allowed_keys, token_grid
from jaxharm.papers.gknet.model import GKNet, GKNetConfig
from jaxharm.weights.portable import variable_shapes

TINY = GKNetConfig.tiny()
# docs/papers/gknet.md, "Network".
COUNTS = [
    ({}, 14_519_716),
    ({"kernel_size": 5}, 15_903_140),
    ({"kernel_groups": 1}, 13_745_599),
    ({"kernel_groups": 16}, 13_806_484),
    ({"modulate_levels": (3, 2)}, 14_389_700),
    ({"base": 16}, 6_060_148),
    ({"lre_depth": 0}, 11_357_092),
    ({"lre_depth": 9, "lre_heads": 2}, 16_101_028),
]
# Every field of the config, with its alternatives. Rows that differ in several fields test them
# together: what counts is that shapes fit and that gradients arrive.
OPTIONS = {
    "deep": {
        **{"depth_levels": 5, "modulate_levels": (3, 1), "upsample_align_corners": True},
        **{"kpb_convs": 0, "lre_pos": "sincos_input"},
    },
    "instance": {"norm": "instance", "scf_mode": "concat", "kernel_size": 5, "mod_dilation": 2},
    "group": {"norm": "group", "norm_from": 0, "head": "direct", "kernel_groups": 2},
    "no norm": {"norm": "none", "lre_act": "relu", "lre_ffn": 64, "kpb_chain": False},
    "pre-norm": {"lre_norm_first": True, "lre_dropout": 0.1, "kpb_convs": 3, "bn_sync": False},
    "learned": {"lre_pos": "learned_input", "lre_attn_mask": "all_to_bg", "lre_token_cap": 4},
    "local": {"kpb_local": "decoder", "scf_mode": "sum", "kernel_size": 1, "skip": "none"},
    "correlation": {"scf_descriptor": "gap_corr", "scf_reduction": 2, "kernel_groups": 1},
    "raw": {"kernel_param": "raw", "mod_padding": "reflect", "mod_fg_gate": True, "lre_depth": 0},
    "softmax": {
        **{"kernel_param": "softmax", "mod_residual": True, "kernel_size": 7},
        **{"modulate_levels": (2,), "decoder_input": "sum", "lre_pos": "none"},
    },
    "full size": {"modulate_levels": (0,), "decoder_input": "lre", "binarize_mask": False},
    "no modulation": {"modulate_levels": (), "head": "residual", "lre_depth": 0},
    "as D-HT": {
        **{"input_norm": "none", "blend_train": False, "init": "normal"},
        **{"lre_attn_mask": "fg_to_bg", "fg_token_threshold": 0.1, "modulate_levels": (2,)},
    },
}
# Fields that need no parameters of their own: the result must differ from the default's.
SWITCHES = [
    {"upsample_align_corners": True},
    {"lre_act": "relu"},
    {"lre_pos": "none"},
    {"lre_pos": "sincos_input"},
    {"lre_attn_mask": "fg_to_bg", "fg_token_threshold": 0.3},
    {"lre_attn_mask": "all_to_bg", "fg_token_threshold": 0.3},
    {"lre_token_cap": 3},
    {"kernel_param": "raw"},
    {"kernel_param": "softmax"},
    {"mod_padding": "reflect"},
    {"mod_dilation": 2},
    {"mod_fg_gate": True},
    {"mod_residual": True},
    {"binarize_mask": False},
    {"input_norm": "none"},
]


def example(size=(16, 24), seed=0):
    rng = np.random.default_rng(seed)
    image = jnp.asarray(rng.random((2, *size, 3)), jnp.float32)
    mask = np.zeros((2, *size, 1), np.float32)
    mask[:, 4:12, 3:13] = 1
    mask[:, 4, 3:13] = 0.7
    return image, jnp.asarray(mask)


@functools.cache
def variables_of(config):
    return random_variables(GKNet(config), *example((16, 32)))


def run(config, image, mask):
    apply = jax.jit(GKNet(config).apply, compiler_options=QUICK_COMPILE)
    return apply(variables_of(config), image, mask)


@pytest.mark.parametrize(("changes", "expected"), COUNTS)
def test_parameters_are_those_of_the_specification(changes, expected):
    config = registry.model_config("gknet", **changes)
    shapes = variable_shapes("gknet", config)
    found = sum(int(np.prod(s)) for key, s in shapes.items() if key.startswith("params/"))
    assert found == expected
    if not changes:
        assert registry.get("gknet").parameters == expected


def unused(config, name):
    """Whether nothing reaches that parameter: a saturated gate, or a map that nothing reads."""
    reads = config.levels or config.decoder_input != "encoder"
    return "blend" in name or ("'lre'" in name and not reads)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_trains(option):
    """The name map covers the parameters; values and training gradients reach all that matter."""
    config = dataclasses.replace(TINY, **{"modulate_levels": None} | OPTIONS[option])
    rules = registry.get("gknet").torch_names()(config).rules
    assert {"/".join(rule.path) for rule in rules} == set(variable_shapes("gknet", config))
    assert len({rule.torch_name for rule in rules}) == len(rules)
    image, mask = example((16, 32))
    variables = dict(variables_of(config))
    params = variables.pop("params")

    def loss(params):
        output, _ = GKNet(config).apply(
            {"params": params, **variables},
            image,
            mask,
            train=True,
            mutable=list(variables),
            rngs={"dropout": jax.random.key(1)},
        )
        return jnp.mean(jnp.square(output.image - 0.3)), output

    step = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK_COMPILE)
    (_, output), grads = step(params)
    assert output.image.shape == image.shape
    kernels = output.aux["kernels"]
    assert len(kernels) == len(config.levels)
    for level, made in zip(config.levels, kernels, strict=True):
        k = config.kernel_size
        assert made.shape == (2, 16 >> level, 32 >> level, config.groups(level), k, k)
    multiple = config.size_multiple
    assert output.aux["reference"].shape == (2, 16 // multiple, 32 // multiple, config.lre_dim)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        name = jax.tree_util.keystr(path)
        assert bool(jnp.isfinite(grad).all()), name
        # A bias before a norm has none.
        if path[-1].key in ("kernel", "in_kernel", "positions") and not unused(config, name):
            assert float(jnp.abs(grad).max()) > 0, name


@pytest.mark.slow
def test_no_switch_does_nothing():
    image, mask = example()
    variables = variables_of(TINY)

    @functools.partial(jax.jit, compiler_options=QUICK_COMPILE)
    def results(variables):
        configs = [TINY, *(dataclasses.replace(TINY, **changes) for changes in SWITCHES)]
        return [GKNet(config).apply(variables, image, mask).aux["raw"] for config in configs]

    plain, *others = results(variables)
    for changes, other in zip(SWITCHES, others, strict=True):
        assert float(jnp.abs(other - plain).max()) > 1e-5, changes


@pytest.mark.slow
def test_the_start_does_not_depend_on_kernels_and_the_first_step_wakes_them():
    """Zero kernel heads: the LRE has no gradient at step 0, and has one after a step."""
    image, mask = example()
    model = GKNet(TINY)
    variables = dict(
        jax.jit(model.init, compiler_options=QUICK_COMPILE)(jax.random.key(0), image, mask)
    )
    params = variables.pop("params")

    def loss(params):
        output, _ = model.apply(
            {"params": params, **variables}, image, mask, train=True, mutable=list(variables)
        )
        return jnp.mean(jnp.square(output.image - 0.3)), output.image

    step = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK_COMPILE)
    (_, before), grads = step(params)
    replaced = {
        name: jax.tree.map(lambda a: a + 0.5, value)
        if name == "lre"
        else {**value, "scf": jax.tree.map(lambda a: a + 0.5, value["scf"])}
        if name.startswith("kpb")
        else value
        for name, value in params.items()
    }
    (_, same), _ = step(replaced)
    np.testing.assert_array_equal(before, same)

    def size(tree):
        return float(optax.global_norm(tree))

    assert size(grads["kpb2"]["head"]) > 0
    assert size(grads["lre"]) == 0
    moved = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    assert size(step(moved)[1]["lre"]) > 0


def test_the_background_is_the_composites_bit_for_bit():
    image, mask = example()
    broken = dict(variables_of(TINY))
    broken["params"] = {
        **broken["params"],
        "rgb": jax.tree.map(lambda a: a * np.nan, broken["params"]["rgb"]),
    }
    apply = jax.jit(GKNet(TINY).apply, compiler_options=QUICK_COMPILE)
    for variables in (variables_of(TINY), broken):
        result = apply(variables, image, mask).image
        kept = np.broadcast_to(np.asarray(mask) < 0.5, result.shape)
        np.testing.assert_array_equal(np.asarray(result)[kept], np.asarray(image)[kept])
    assert float(jnp.abs(run(TINY, image, mask).image - image).max()) > 0.01


@pytest.mark.slow
def test_identity_start_returns_the_composite():
    image, mask = example()
    config = dataclasses.replace(TINY, head="residual", identity_start=True)
    model = GKNet(config)
    init = jax.jit(model.init, compiler_options=QUICK_COMPILE)
    apply = jax.jit(model.apply, compiler_options=QUICK_COMPILE)
    result = apply(init(jax.random.key(0), image, mask), image, mask)
    np.testing.assert_allclose(result.image, image, atol=1e-6)


# The transformer's tokens ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "cap", "grid"),
    [
        ((16, 16), 1024, (16, 16)),
        ((32, 32), 1024, (32, 32)),
        ((128, 128), 1024, (32, 32)),
        ((64, 128), 1024, (22, 45)),
        ((1, 900), 100, (1, 100)),
        ((900, 1), 100, (100, 1)),
        ((64, 64), None, (64, 64)),
    ],
)
def test_token_grid(size, cap, grid):
    found = token_grid(size, cap)
    assert found == grid
    assert cap is None or found[0] * found[1] <= cap


def test_too_many_tokens_without_the_cap_name_the_option():
    with pytest.raises(InputError, match=r"64x65 tokens .*4096.* lre_token_cap"):
        token_grid((64, 65), None)
    model = GKNet(dataclasses.replace(TINY, lre_token_cap=None))
    shapes = [jax.ShapeDtypeStruct((1, 528, 512, c), jnp.float32) for c in (3, 1)]
    with pytest.raises(InputError, match="lre_token_cap"):
        jax.eval_shape(model.init, jax.random.key(0), *shapes)


def test_the_cap_bounds_the_attention(monkeypatch):
    seen = []
    real = jax.nn.dot_product_attention
    monkeypatch.setattr(
        gknet_lre.jax.nn,
        "dot_product_attention",
        lambda q, *args, **kwargs: seen.append(q.shape[1]) or real(q, *args, **kwargs),
    )
    model = GKNet(dataclasses.replace(TINY, lre_token_cap=30))
    shapes = [jax.ShapeDtypeStruct((1, 64, 128, c), jnp.float32) for c in (3, 1)]
    output, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), *shapes)
    assert set(seen) == {3 * 7}
    assert output.aux["reference"].shape == (1, 8, 16, TINY.lre_dim)


def test_masked_queries_always_have_a_key():
    foreground = jnp.asarray([[True, False, True], [True, True, True]])
    fg_to_bg = allowed_keys(foreground, "fg_to_bg")
    assert fg_to_bg[0].tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    assert fg_to_bg[1].tolist() == np.eye(3).tolist()
    to_background = allowed_keys(foreground, "all_to_bg")
    assert to_background[0].tolist() == [[0, 1, 0]] * 3
    assert bool(to_background[1].all())
    assert allowed_keys(foreground, "none") is None


def test_correlation_is_one_for_proportional_maps_and_finite_for_constant_ones():
    a = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 5, 2)), jnp.float32)
    np.testing.assert_allclose(correlation(a, 3 * a), 1, atol=1e-4)
    np.testing.assert_allclose(correlation(a, -a), -1, atol=1e-4)
    flat = jnp.ones_like(a)
    assert correlation(a, flat).tolist() == [[0, 0]]
    assert bool(jnp.isfinite(jax.grad(lambda x: correlation(a, x).sum())(flat)).all())


def test_doubling_is_the_bilinear_resize():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 1, 4)), jnp.float32)
    np.testing.assert_allclose(double(x), resize(x, (6, 2), "bilinear"), atol=1e-6)


# Bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_groups": 3}, r"kernel_groups=3 does not divide 256, .* level 3"),
        ({"kernel_groups": 256}, r"kernel_groups=256 does not divide 128, .* level 2"),
        ({"modulate_levels": (4, 3)}, r"modulate_levels=\(4, 3\): .* 3 \(the deepest\) to 0"),
        ({"modulate_levels": (3, 3)}, "modulate_levels=.* each once"),
        ({"kernel_size": 4}, "kernel_size=4 must be odd"),
        ({"norm": "layer"}, "norm='layer' is not one of batch, instance, group, none"),
        ({"lre_heads": 7}, "lre_dim=256 must be a multiple of 4 and of lre_heads=7"),
        ({"lre_token_cap": 0}, "lre_token_cap=0"),
        ({"depth_levels": 1}, "depth_levels=1"),
        ({"lre_dropout": 1.0}, "lre_dropout=1.0"),
        ({"base": 0}, "base=0 is not an integer of at least 1"),
        ({"kpb_convs": -1}, "kpb_convs=-1 is not an integer of at least 0"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(InputError, match=message) as caught:
        registry.create_model("gknet", **options)
    assert "\n" not in str(caught.value)


def test_sizes_that_do_not_fit_name_the_multiple():
    for size in ((40, 48), (48, 40), (8, 16)):
        shapes = [jax.ShapeDtypeStruct((1, *size, c), jnp.float32) for c in (3, 1)]
        message = re.escape("multiples of 16 and at least 16, not")
        with pytest.raises(InputError, match=message):
            jax.eval_shape(registry.create_model("gknet").init, jax.random.key(0), *shapes)


def test_fused_attention_is_refused_where_it_cannot_run():
    shapes = [jax.ShapeDtypeStruct((1, 16, 16, c), jnp.float32) for c in (3, 1)]
    model = GKNet(dataclasses.replace(TINY, lre_flash=True))
    with pytest.raises(InputError, match="lre_flash needs an NVIDIA GPU and precision=bfloat16"):
        jax.eval_shape(model.init, jax.random.key(0), *shapes)

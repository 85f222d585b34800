"""PIH: options, sizes, gradients, checkpoint names. Values: test_pih_golden.py."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.pih.golden_case import state_dict
from support.goldens import load_layout
from support.round_trip import assert_comes_back
from support.tiers import first_is_quick

from jaxharm import convert, registry
from jaxharm.errors import InputError
from jaxharm.papers.pih.convert import torch_names
from jaxharm.papers.pih.model import PIH, PIHConfig, render, unblend

TINY = PIHConfig.tiny()
KNOTS = (np.arange(32, dtype=np.float32) + 0.5) / 32


def inputs(count=2, size=(64, 64), seed=0):
    rng = np.random.default_rng(seed)
    composite, background = rng.random((2, count, *size, 3), np.float32)
    mask = np.clip(rng.normal(0.5, 0.6, (count, *size, 1)), 0, 1).astype(np.float32)
    return composite, mask, background


def zeros(config, size=(64, 64)):
    """Variables of the right shapes without drawing any: ones for norms, small waves elsewhere."""
    shape = (1, *size)
    image, mask = (jax.ShapeDtypeStruct((*shape, c), jnp.float32) for c in (3, 1))
    tree = jax.eval_shape(
        lambda key, c, m: PIH(config).init(key, c, m, background=c), jax.random.key(0), image, mask
    )
    rng = np.random.default_rng(1)

    def value(path, leaf):
        if path[-1].key in ("scale", "var"):
            return np.ones(leaf.shape, np.float32)
        fan_in = max(1, leaf.size // leaf.shape[-1])
        return (rng.standard_normal(leaf.shape) / np.sqrt(fan_in)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(value, tree)


@functools.partial(jax.jit, static_argnums=0)
def run(config, variables, composite, mask, background):
    return PIH(config).apply(variables, composite, mask, background)


@pytest.mark.parametrize("name", ["pih", "pih_light"])
def test_parameters_are_counted_right(name):
    entry, model = registry.get(name), registry.create_model(name)
    image, mask = (jax.ShapeDtypeStruct((1, 512, 512, c), jnp.float32) for c in (3, 1))
    tree = jax.eval_shape(
        lambda key, c, m: model.init(key, c, m, background=c), jax.random.key(0), image, mask
    )
    assert sum(x.size for x in jax.tree.leaves(tree["params"])) == entry.parameters


@pytest.mark.parametrize(
    ("config", "smallest", "default"),
    [
        (PIHConfig(), 438, 512),
        (PIHConfig(lowres=True), 220, 256),
        (PIHConfig(light=True, lowres=True), 220, 256),
        (PIHConfig(predict_size=128), 1, 128),
        (PIHConfig(masking=False), 1, 512),
        (TINY, 4, 64),
    ],
)
def test_sizes(config, smallest, default):
    assert config.size_multiple == 1
    assert config.default_size == default
    if config is not TINY:
        assert config.min_size == smallest


def test_the_smallest_size_is_exact():
    """One pixel less and the shading net's bottleneck would be empty."""
    side = TINY.min_size
    variables = zeros(TINY)
    composite, mask, background = inputs(1, (side, side + 3))
    assert run(TINY, variables, composite, mask, background).image.shape == composite.shape
    with pytest.raises(InputError, match=f"at least {side} pixels, not {side - 1}x{side + 3}"):
        run(TINY, variables, *(x[:, :-1] for x in (composite, mask, background)))


def test_output_follows_the_formula_and_render_repeats_it():
    composite, mask, background = inputs()
    out = run(TINY, zeros(TINY), composite, mask, background)
    curves, shading = np.asarray(out.aux["curves"]), np.asarray(out.aux["shading"])
    curved = np.stack(
        [
            np.stack([np.interp(composite[b, ..., c], KNOTS, curves[b, c]) for c in range(3)], -1)
            for b in range(2)
        ]
    )
    intermediate = curved * mask + (1 - mask) * background
    np.testing.assert_allclose(out.aux["intermediate"], intermediate, atol=1e-5)
    np.testing.assert_allclose(out.aux["raw"], curved * shading, atol=1e-5)
    expected = intermediate * shading * mask + (1 - mask) * background
    np.testing.assert_allclose(out.image, expected, atol=1e-5)
    assert shading.min() >= TINY.mask_offset
    assert shading.max() <= 1
    assert np.ptp(shading) > 1e-3
    again = render(composite, out.aux["curves"], mask, background, shading=out.aux["shading"])
    np.testing.assert_allclose(again, out.image, atol=1e-6)


def test_background_pixels_are_those_of_the_plate():
    composite, mask, background = inputs()
    mask = np.round(mask)
    image = run(TINY, zeros(TINY), composite, mask, background).image
    outside = np.broadcast_to(mask == 0, image.shape)
    np.testing.assert_array_equal(np.asarray(image)[outside], background[outside])


def test_without_shading_stage():
    config = dataclasses.replace(TINY, masking=False)
    variables = zeros(config)
    assert set(variables["params"]) == {"curve_net"}
    out = run(config, variables, *inputs())
    np.testing.assert_array_equal(out.aux["shading"], 1)
    np.testing.assert_array_equal(out.image, out.aux["intermediate"])


def test_single_alpha_blends_once():
    config = dataclasses.replace(TINY, single_alpha=True)
    foreground, mask, background = inputs()
    composite = foreground * mask + (1 - mask) * background
    out = run(config, zeros(config), composite, mask, background)
    expected = out.aux["raw"] * mask + (1 - mask) * background
    np.testing.assert_allclose(out.image, expected, atol=2e-6)
    again = render(
        composite,
        out.aux["curves"],
        mask,
        background,
        shading=out.aux["shading"],
        single_alpha=True,
    )
    # Edges are divided by their opacity, which enlarges rounding errors before the curves.
    np.testing.assert_allclose(again, out.image, atol=1e-5)
    known = np.broadcast_to(mask > 0.05, foreground.shape)
    recovered = np.asarray(unblend(composite, mask, background))
    np.testing.assert_allclose(recovered[known], foreground[known], atol=1e-4)


def test_identity_start_returns_nearly_the_composite():
    config = dataclasses.replace(TINY, identity_start=True)
    composite, mask, background = inputs()
    mask = np.round(mask)
    variables = zeros(config)
    for net, head in (("curve_net", "head"), ("shading_net", "out")):
        variables["params"][net][head] = jax.tree.map(np.zeros_like, variables["params"][net][head])
    out = run(config, variables, composite, mask, background)
    np.testing.assert_allclose(out.aux["curves"][1, 2], KNOTS, atol=1e-6)
    pasted = composite * mask + background * (1 - mask)
    # 1/64: the flat ends of the curves; 0.01: the gain.
    assert np.abs(np.asarray(out.image) - pasted).max() < 1 / 64 + 0.01


def test_edge_padding_changes_the_outermost_gains_only():
    variables, images = zeros(TINY), inputs()
    zero, edge = (
        np.asarray(
            run(dataclasses.replace(TINY, shading_padding=p), variables, *images).aux["shading"]
        )
        for p in ("zero", "edge")
    )
    np.testing.assert_allclose(edge[:, 1:-1, 1:-1], zero[:, 1:-1, 1:-1], atol=1e-6)
    assert np.abs(edge - zero)[:, 0].max() > 1e-3
    # The map goes on at the border as it comes, where the zeros make a step.
    steps = [np.abs(gain[:, 0] - gain[:, 1]).mean() for gain in (edge, zero)]
    assert steps[0] < steps[1] / 2


def test_predict_size_renders_at_full_size():
    config = dataclasses.replace(TINY, predict_size=64)
    composite, mask, background = inputs(1, (80, 70))
    out = run(config, zeros(config), composite, mask, background)
    assert out.image.shape == (1, 80, 70, 3)
    assert out.aux["shading"].shape == (1, 80, 70, 1)
    small = inputs(1)
    np.testing.assert_array_equal(
        run(config, zeros(config), *small).image, run(TINY, zeros(TINY), *small).image
    )


@pytest.mark.slow
@pytest.mark.parametrize("light", first_is_quick([True, False]))
def test_gradient_reaches_every_parameter(light):
    composite, mask, background = inputs(4)

    @functools.partial(jax.jit, static_argnums=0)
    def gradient(config, variables):
        def objective(params):
            out, _ = PIH(config).apply(
                {**variables, "params": params},
                composite,
                mask,
                background,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )
            return jnp.mean(jnp.square(out.image - background[::-1]))

        return jax.grad(objective)(variables["params"])

    config = PIHConfig.tiny(light=light)
    gradients = gradient(config, zeros(config))
    for path, value in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.any(np.asarray(value) != 0), jax.tree_util.keystr(path)
    if light:
        return
    config = dataclasses.replace(config, joint=False)
    apart = gradient(config, zeros(config))
    assert all(not np.any(x) for x in jax.tree.leaves(apart["curve_net"]))
    assert any(np.any(x) for x in jax.tree.leaves(apart["shading_net"]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"knots": 1}, "knots=1 is not an integer of at least 2"),
        ({"mask_offset": 1.0}, "mask_offset=1.0 is not a number of at least 0 and below 1"),
        ({"shading_strides": (4, 4)}, "six strides"),
        ({"shading_padding": "wrap"}, "'wrap' is not one of zero, edge"),
        ({"predict_size": 100}, "these strides need at least"),
    ],
)
def test_bad_options_are_named(change, says):
    with pytest.raises(InputError, match=says):
        PIHConfig(**change)


def test_missing_background_and_batch_of_one_are_refused():
    composite, mask, background = inputs(1)
    with pytest.raises(InputError, match="needs the background plate"):
        PIH(TINY).apply(zeros(TINY), composite, mask)
    with pytest.raises(InputError, match="at least 2 images"):
        PIH(TINY).apply(
            zeros(TINY), composite, mask, background, train=True, mutable=["batch_stats"]
        )


@pytest.mark.golden
@pytest.mark.parametrize("name", ["pih", "pih_light"])
def test_name_map_covers_the_official_layout(name):
    layout = load_layout("pih")
    kind = "light" if name == "pih_light" else "base"
    official = {entry[0]: tuple(entry[1]) for entry in layout["state_dict"][kind]}
    names = torch_names(registry.model_config(name))
    mapped = [rule.torch_name for rule in names.rules]
    assert len(mapped) == len(set(mapped))
    assert set(mapped).isdisjoint(names.dropped)
    assert {*mapped, *names.dropped} == set(official)
    unused = [n for n in names.dropped if not n.endswith("num_batches_tracked")]
    trained = [n for n in unused if "running" not in n]
    assert (
        sum(int(np.prod(official[n])) for n in trained)
        == layout["parameter_counts"][f"{kind}_unused"]
    )

    state = {n: np.zeros(shape, np.float32) for n, shape in official.items()}
    state["gainnet.conv10.weight"] = state.pop(
        "PL.EffNet.conv.0.weight" if kind == "light" else "PL.conv1.weight"
    )
    with pytest.raises(InputError, match=r"1 missing \(PL\..*1 unknown \(gainnet.conv10.weight\)"):
        convert.from_torch(name, state)


@pytest.mark.golden
def test_tensor_of_another_rank_is_named():
    layout = load_layout("pih")
    state = {n: np.zeros(shape, np.float32) for n, shape, _ in layout["state_dict"]["light"]}
    state["gainnet.conv0.weight"] = np.zeros((8, 10), np.float32)
    with pytest.raises(InputError, match=r"conv0.weight has shape \[8, 10\], which does not fit"):
        convert.from_torch("pih_light", state)


@pytest.mark.golden
@pytest.mark.slow  # draws many million numbers
@pytest.mark.parametrize(("name", "kind"), [("pih_light", "light"), ("pih", "base")])
def test_official_weights_come_back(name, kind):
    assert_comes_back(name, state_dict(kind))

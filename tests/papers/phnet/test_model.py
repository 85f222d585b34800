"""PHNet: goldens of both released configurations, shapes, sizes, gradients, options."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.golden_recipe import fill_all, region_norm_override
from support.goldens import load_layout
from support.random_variables import random_weights
from support.round_trip import assert_comes_back
from support.tiers import first_is_quick

from jaxharm import metrics, registry
from jaxharm.errors import InputError
from jaxharm.papers.phnet.model import PHNet, PHNetConfig
from jaxharm.weights.name_map import from_torch, recognized

GOLDENS = {"phnet_ffhqh": "model_ffhqh", "phnet_iharmony4": "model_iharmony"}


def nhwc(value):
    return jnp.asarray(np.moveaxis(value, 1, -1))


@pytest.fixture(scope="module")
def layouts():
    return load_layout("phnet")


@pytest.fixture(scope="module", params=GOLDENS)
def golden(request, shared, layouts):
    """Expected arrays, our output and every intermediate of one released configuration."""
    name = request.param
    arrays = np.load(shared / "golden" / "phnet" / f"{GOLDENS[name]}.npz")
    state = fill_all(layouts[name]["state_dict"], override=region_norm_override)
    model, variables = registry.create_model(name), from_torch(name, state)

    @jax.jit
    def run(variables, image, mask):
        return model.apply(variables, image, mask, capture_intermediates=True)

    output, captured = run(variables, nhwc(arrays["image"]), nhwc(arrays["mask"]))
    return arrays, output, captured["intermediates"], model.config


@pytest.mark.golden
def test_golden_output(golden):
    arrays, output, _, _ = golden
    np.testing.assert_allclose(output.aux["raw"], nhwc(arrays["output"]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(output.image, nhwc(arrays["blended"]), rtol=0, atol=1e-5)


@pytest.mark.golden
def test_golden_intermediates(golden):
    arrays, _, captured, config = golden
    ours = {
        "pfe_out": captured["pfe"]["__call__"][0][0],
        "pfe_composite": captured["pfe"]["__call__"][0][1],
        "se_out": captured["se"]["__call__"][0],
    }
    for i in range(6):
        step = captured[f"decoder{i}"]
        ours[f"enc{i + 1}"] = captured[f"encoder{i + 1}"]["__call__"][0]
        ours[f"skip{i}"], ours[f"dec{i}"] = step["fused"][0], step["__call__"][0]
    for block, step in enumerate(config.pn_grids):
        ours[f"pn{block}"] = captured[f"decoder{step}"]["norm"]["__call__"][0]
    assert {f"{name}_crop" for name in ours} == {n for n in arrays.files if n.endswith("_crop")}
    for name, value in ours.items():
        _, height, width, channels = value.shape
        top, left = max(height // 2 - 8, 0), max(width // 2 - 8, 0)
        crop = value[:1, top : top + 16, left : left + 16, : min(channels, 8)]
        for got, suffix in (
            (jnp.moveaxis(crop, -1, 1), "crop"),
            (value.mean((1, 2)), "mean"),
            (value.std((1, 2)), "std"),
        ):
            want = arrays[f"{name}_{suffix}"]
            np.testing.assert_allclose(got, want, rtol=0, atol=5e-5, err_msg=f"{name}_{suffix}")
    gate, extra = captured["se"]["gates"][0]
    np.testing.assert_allclose(gate, arrays["se_y"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(extra, arrays["se_aux"], rtol=0, atol=5e-5)


@pytest.mark.golden
def test_golden_metrics_of_the_blended_output(golden):
    arrays, output, _, _ = golden
    images = (output.image, nhwc(arrays["real"]), nhwc(arrays["mask"]))
    for name in ("mse", "fmse", "psnr", "fpsnr", "ssim"):
        values = getattr(metrics, name)(*images, protocol="phnet_256")
        want = [float(arrays[f"metric_{name}_{i}"]) for i in range(len(values))]
        limits = {"abs": 1e-4} if name == "ssim" else {"rel": 1e-4}
        assert [float(v) for v in values] == pytest.approx(want, **limits), name


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDENS)
def test_checkpoint_layout_is_the_official_one(layouts, name):
    listing = layouts[name]
    names = registry.get(name).torch_names()(registry.model_config(name))
    ours = [rule.torch_name for rule in names.rules]
    assert sorted([*ours, *names.dropped]) == sorted(entry[0] for entry in listing["state_dict"])
    assert len({rule.path for rule in names.rules}) == len(ours)
    used = listing["parameters"] - listing["parameters_never_used"]
    assert registry.get(name).parameters == used
    shapes = {entry[0]: entry[1] for entry in listing["state_dict"]}
    trained = [r.torch_name for r in names.rules if r.path[0] == "params"]
    assert sum(int(np.prod(shapes[n])) for n in trained) == used


def test_conversion_is_strict(layouts):
    state = fill_all(layouts["phnet_iharmony4"]["state_dict"], override=region_norm_override)
    del state["encoder.3.0.bias"]
    with pytest.raises(InputError, match=r"1 missing \(encoder.3.0.bias\)"):
        from_torch("phnet_iharmony4", state)


def test_an_official_file_tells_its_size(layouts):
    """Both sizes have the same tensors by name, but for some that are dropped."""
    for name in ("phnet_ffhqh", "phnet_iharmony4"):
        listing = layouts[name]["state_dict"]
        assert recognized({key: np.zeros(shape, np.float32) for key, shape, *_ in listing}) == [
            name
        ]


@pytest.mark.parametrize("name", GOLDENS)
def test_full_model_has_the_published_size(name):
    model = registry.create_model(name)
    side = model.config.default_size
    image, mask = jnp.zeros((1, side, side, 3)), jnp.zeros((1, side, side, 1))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image, mask)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert count == registry.get(name).parameters
    assert side == {"phnet_ffhqh": 256, "phnet_iharmony4": 512}[name]


@pytest.fixture(scope="module")
def tiny():
    """A tiny model, its variables, and a non-square composite with a mask."""
    model = PHNet(PHNetConfig.tiny())
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.random((2, 64, 72, 3)), jnp.float32)
    mask = jnp.asarray(rng.random((2, 64, 72, 1)) > 0.6, jnp.float32)
    return model, random_weights("phnet_ffhqh", model.config), image, mask


def test_background_is_untouched_and_output_in_range(tiny):
    model, variables, image, mask = tiny
    output = jax.jit(model.apply)(variables, image, mask)
    assert output.image.shape == image.shape
    assert output.image.dtype == jnp.float32
    np.testing.assert_array_equal(
        np.where(mask == 0, output.image, 0), np.where(mask == 0, image, 0)
    )
    assert float(output.image.min()) >= 0
    assert float(output.image.max()) <= 1
    assert not np.allclose(np.where(mask == 1, output.image, 0), np.where(mask == 1, image, 0))


@pytest.mark.parametrize("kind", first_is_quick(["hard", "empty", "full"]))
def test_gradient_reaches_every_parameter_and_is_finite(tiny, kind):
    model, variables, image, mask = tiny
    mask = {"hard": mask, "empty": 0 * mask, "full": 0 * mask + 1}[kind]

    @jax.jit
    def gradients(params, mask):
        def loss(params):
            output, _ = model.apply(
                {**variables, "params": params}, image, mask, train=True, mutable=["batch_stats"]
            )
            return jnp.mean(jnp.square(output.aux["raw"] - image))

        return jax.grad(loss)(params)

    grads = jax.tree_util.tree_leaves_with_path(gradients(variables["params"], mask))
    for path, grad in grads:
        assert bool(jnp.isfinite(grad).all()), jax.tree_util.keystr(path)
        if kind == "hard":
            assert float(jnp.abs(grad).max()) > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
def test_input_gradient_is_finite_where_patches_are_constant(tiny):
    model, variables, image, mask = tiny
    flat = image.at[:, :32].set(0.5)
    grad = jax.jit(jax.grad(lambda x: model.apply(variables, x, mask).image.sum()))(flat)
    assert bool(jnp.isfinite(grad).all())


@pytest.mark.slow
def test_bfloat16_stays_close_to_float32(tiny):
    model, variables, image, mask = tiny
    low = PHNet(model.config, dtype=jnp.bfloat16)
    output = jax.jit(low.apply)(variables, image, mask)
    assert output.image.dtype == output.aux["raw"].dtype == jnp.float32
    exact = jax.jit(model.apply)(variables, image, mask).aux["raw"]
    np.testing.assert_allclose(output.aux["raw"], exact, atol=0.03)


@pytest.mark.parametrize("size", [(64, 60), (56, 64), (65, 65)])
def test_unsupported_sizes_are_named(tiny, size):
    model, variables, _, _ = tiny
    with pytest.raises(
        ValueError, match=rf"multiples of 8 and at least 64, not {size[0]}x{size[1]}"
    ):
        model.apply(variables, jnp.zeros((1, *size, 3)), jnp.zeros((1, *size, 1)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("channels", (3, 4, 8)), ("grid_counts", (4,)), ("se_reduction", 64)],
)
def test_impossible_options_are_named(field, value):
    with pytest.raises(InputError, match=field):
        dataclasses.replace(PHNetConfig.tiny(), **{field: value})


def initial(config):
    image, mask = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 64, 64, 1))
    return jax.jit(PHNet(config).init)(jax.random.key(0), image, mask)["params"]


@pytest.mark.slow
def test_initial_values_follow_the_release():
    params = initial(PHNetConfig.tiny())
    assert params["pfe"]["weights"].tolist() == pytest.approx([0.9, 0.1])
    norm = params["decoder3"]["norm"]  # grid 4, 8 channels
    np.testing.assert_allclose(norm["grid_weights"], 1 / (16 * 8))
    np.testing.assert_allclose(norm["fg_var"], 0.8)
    np.testing.assert_allclose(norm["weights"], 0.5)


@pytest.mark.slow
def test_initial_weights_can_be_set():
    options = {"scale_init": 0.5, "mix_init": (0.25, 0.75), "pfe_mix_init": (0.2, 0.8)}
    options["grid_weights_init"] = "mean"
    params = initial(dataclasses.replace(PHNetConfig.tiny(), **options))
    assert params["pfe"]["weights"].tolist() == pytest.approx([0.2, 0.8])
    norm = params["decoder3"]["norm"]
    assert norm["weights"].tolist() == pytest.approx([0.25, 0.75])
    np.testing.assert_allclose(norm["grid_weights"], 1 / 16)
    np.testing.assert_allclose(norm["fg_var"], 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value"), [("pn_eps", 0.1), ("pfe_eps", 0.1), ("pfe_background_divisor", 1.0)]
)
def test_options_of_the_statistics_change_the_image(tiny, option, value):
    model, variables, composite, mask = tiny
    changed = PHNet(dataclasses.replace(model.config, **{option: value}))
    apply = [
        jax.jit(functools.partial(m.apply, capture_intermediates=True)) for m in (model, changed)
    ]
    before, after = (run(variables, composite, mask)[1]["intermediates"] for run in apply)
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before, after)
    part = "decoder3" if option == "pn_eps" else "pfe"
    assert max(jax.tree.leaves(differences[part])) > 1e-4


@pytest.mark.parametrize(
    ("options", "grids"),
    [
        ({}, {3: 4, 4: 3, 5: 2}),
        ({"grid_counts": (10, 5, 1)}, {4: 10, 5: 5}),
        ({"pn_steps": ()}, {}),
        ({"pn_steps": (5, 3)}, {3: 4, 5: 2}),
        ({"pn_steps": (0, 4)}, {0: 4, 4: 3}),  # before the released ones: at most 4
    ],
)
def test_pn_blocks_stand_where_they_are_put(options, grids):
    assert PHNetConfig(**options).pn_grids == grids


def parameters_of(**options):
    model = PHNet(dataclasses.replace(PHNetConfig.tiny(), **options))
    image, mask = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 64, 64, 1))
    return jax.eval_shape(model.init, jax.random.key(0), image, mask)["params"]


def test_parts_that_are_left_out_have_no_parameters():
    assert not any("norm" in parameters_of(pn_steps=())[f"decoder{i}"] for i in range(6))
    everywhere = parameters_of(pn_steps=tuple(range(6)))
    assert all("norm" in everywhere[f"decoder{i}"] for i in range(6))
    assert "pfe" not in parameters_of(pfe=False)
    assert set(parameters_of(pfe=False)["se"]) == {"squeeze", "excite"}
    assert "se" not in parameters_of(se=False)  # its one gate, the extractor's, has none
    assert not {"pfe", "se"} & set(parameters_of(pfe=False, se=False))


@pytest.mark.parametrize(
    ("options", "gates"),
    [
        ({"pfe": False}, 1),
        pytest.param({"se": False}, 1, marks=pytest.mark.slow),
        pytest.param({"pfe": False, "se": False}, 0, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_gates_that_are_left_scale_the_bottleneck(tiny, options, gates):
    whole, variables, image, mask = tiny
    model = PHNet(dataclasses.replace(whole.config, **options))
    names = set(parameters_of(**options))
    params = {name: value for name, value in variables["params"].items() if name in names}
    run = jax.jit(functools.partial(model.apply, capture_intermediates=True))
    _, captured = run({**variables, "params": params}, image, mask)
    found = captured["intermediates"].get("se", {}).get("gates", [()])[0]
    assert len(found) == gates
    bottleneck = captured["intermediates"]["encoder6"]["__call__"][0]
    if gates:
        scaled = captured["intermediates"]["se"]["__call__"][0]
        np.testing.assert_allclose(scaled, bottleneck * found[0][:, None, None], rtol=1e-5)


def test_places_that_do_not_exist_are_refused():
    for steps in ((6,), (3, 3)):
        with pytest.raises(InputError, match=r"choose from the decoder steps 0 to 5, each once"):
            PHNetConfig(pn_steps=steps)


@pytest.mark.golden
@pytest.mark.slow  # draws 40 million numbers
@pytest.mark.parametrize("name", GOLDENS)
def test_official_weights_come_back(layouts, name):
    assert_comes_back(name, fill_all(layouts[name]["state_dict"], override=region_norm_override))

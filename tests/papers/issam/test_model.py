"""iSSAM: the official network's outputs, intermediates and gradients; options; degenerate masks."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.contexts import NO_EXTRAS, context
from support.golden_recipe import fill_all, style_override
from support.goldens import load_layout
from support.random_variables import QUICK_COMPILE, random_variables
from support.round_trip import assert_comes_back

from jaxharm import metrics, registry
from jaxharm.config import TrainConfig
from jaxharm.convert import from_torch
from jaxharm.errors import InputError
from jaxharm.losses.pixel import foreground_normalized_error
from jaxharm.nn.imagenet import normalize
from jaxharm.papers.issam.model import Issam, IssamConfig
from jaxharm.papers.issam.ssam import SpatialSeparatedAttention
from jaxharm.papers.issam.system import IssamObjective
from jaxharm.registry import make_system
from jaxharm.schema import Batch

STATISTICS = "encoder.blocks_connected.block2.convs.block.0.block.1"


def nhwc(value):
    return jnp.asarray(np.moveaxis(value, 1, -1))


def at(tree, path):
    for part in path:
        tree = tree[part]
    return tree


@pytest.fixture(scope="module")
def manifest(shared):
    (file,) = shared.glob("golden/*/issam256.npz")
    return json.loads(file.with_name("manifest.json").read_text())["files"]


@pytest.fixture(scope="module")
def state():
    return fill_all(load_layout("issam")["state_dict"], override=style_override)


@pytest.fixture(scope="module")
def golden(shared, state):
    """Expected arrays; inputs; the converted variables."""
    arrays = np.load(*shared.glob("golden/*/issam256.npz"))
    images = [arrays[name] / np.float32(255) for name in ("composite_u8", "real_u8")]
    return arrays, (images[0], arrays["mask"], images[1]), from_torch("issam", state)


@pytest.fixture(scope="module")
def evaluated(golden):
    arrays, (composite, mask, _), variables = golden
    model = registry.create_model("issam")

    @jax.jit
    def run(variables, composite, mask):
        return model.apply(
            variables, composite, mask, capture_intermediates=True, mutable=["intermediates"]
        )

    output, captured = run(variables, composite, mask)
    return arrays, output, captured["intermediates"]


@pytest.mark.golden
def test_golden_output_and_intermediates(evaluated, manifest):
    arrays, output, captured = evaluated
    np.testing.assert_allclose(
        normalize(output.aux["raw"]), nhwc(arrays["eval_out"]), rtol=0, atol=2e-5
    )
    attention = captured["decoder2"]["attention"]
    ours = {f"enc{i}": output.aux["encoder"][i] for i in range(4)}
    ours |= {f"up{d}": captured[f"up{d}"]["__call__"][0] for d in range(3)}
    ours |= {f"dec{d}": captured[f"decoder{d}"]["__call__"][0] for d in range(3)}
    ours |= {
        "ssam": attention["__call__"][0],
        "ssam_mask": attention["mask"][0],
        "ssam_bg": attention["background"][0],
        "ssam_fg": attention["foreground"][0],
        "ssam_mix": attention["mix"][0],
        "fusion_logit": captured["head"]["logit"][0],
        "rgb": captured["head"]["rgb"][0],
    }
    strides = manifest["issam256.npz"]["arrays"]["strides"]
    assert set(ours) == set(strides)
    for name, value in ours.items():
        step = strides[name]
        got = np.asarray(value)
        summary = [got.mean(dtype=np.float64), got.std(dtype=np.float64), np.abs(got).max()]
        np.testing.assert_allclose(
            got[:, step // 2 :: step, step // 2 :: step],
            nhwc(arrays[f"eval_{name}"]),
            rtol=0,
            atol=2e-5,
            err_msg=name,
        )
        np.testing.assert_allclose(summary, arrays[f"stat_{name}"], rtol=0, atol=2e-5, err_msg=name)


@pytest.mark.golden
def test_golden_losses_and_metrics(evaluated, golden):
    arrays, output, _ = evaluated
    _, (_, mask, target), _ = golden
    prediction, wanted = normalize(output.aux["raw"]), normalize(target)
    for area, name in (
        (1000.0, "eval_loss_per_image"),
        (100.0, "eval_loss_per_image_min_area_100"),
    ):
        for i in range(2):
            total, count = foreground_normalized_error(
                prediction[i : i + 1], wanted[i : i + 1], mask[i : i + 1], min_area=area
            )
            assert float(total / count) == pytest.approx(float(arrays[name][i]), rel=2e-5)
    for name in ("mse", "fmse", "psnr"):
        values = getattr(metrics, name)(
            output.image, jnp.asarray(target), jnp.asarray(mask), protocol="issam_256"
        )
        np.testing.assert_allclose(values, arrays[f"metric_{name}_f64"], rtol=2e-5, err_msg=name)


@pytest.mark.golden
@pytest.mark.slow
def test_golden_training_step(golden, manifest):
    """Batch statistics, loss, gradients and running statistics."""
    arrays, (composite, mask, target), variables = golden
    config = TrainConfig("issam", IssamConfig(), IssamObjective(), steps=1)
    system = make_system(config, total_steps=1)

    @jax.jit
    def run(variables, composite, mask, target):
        def loss(params):
            output, updated = system.module().apply(
                {**variables, "params": params},
                composite,
                mask,
                train=True,
                mutable=["batch_stats"],
            )
            batch = Batch(composite, mask, target)
            total, _ = system.loss(context(), output, batch, NO_EXTRAS)
            return total, (output.aux["raw"], updated)

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    (total, (raw, updated)), grads = run(variables, composite, mask, target)
    np.testing.assert_allclose(
        normalize(raw)[:, ::4, ::4], nhwc(arrays["train_out_sub4"]), rtol=0, atol=1e-3
    )
    assert float(total) == pytest.approx(float(arrays["train_loss"]), rel=2e-5)
    for i, want in enumerate(arrays["train_loss_per_image"]):
        one = normalize(raw)[i : i + 1], normalize(target)[i : i + 1], mask[i : i + 1]
        error, count = foreground_normalized_error(*one, min_area=1000.0)
        assert float(error / count) == pytest.approx(float(want), rel=2e-5)
    norm = float(optax.tree.norm(grads))
    assert norm == pytest.approx(float(arrays["grad_norm_total"]), rel=1e-3)
    rules = registry.get("issam").torch_names()(config.model).rules
    paths = {rule.torch_name: rule.path for rule in rules}
    selected = manifest["issam256.npz"]["arrays"]["grad_norm_selected_names"]
    for name, want in zip(selected, arrays["grad_norm_selected"], strict=True):
        got = float(jnp.linalg.norm(at(grads, paths[name][1:]).ravel()))
        assert got == pytest.approx(float(want), rel=5e-3), name
    colors = at(grads, paths["decoder.to_rgb.weight"][1:])[0, 0].T
    want = arrays["grad_to_rgb_weight"]
    assert np.linalg.norm(colors - want) <= 5e-3 * np.linalg.norm(want)
    for name in ("mean", "var"):
        got = at(updated, paths[f"{STATISTICS}.running_{name}"])
        want = arrays[f"bn_running_{name}_after"]
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.golden
def test_layout_is_the_official_one_and_strict(state):
    names = registry.get("issam").torch_names()(IssamConfig())
    ours = [rule.torch_name for rule in names.rules]
    assert sorted([*ours, *names.dropped]) == sorted(state)
    trained = [rule.torch_name for rule in names.rules if rule.path[0] == "params"]
    count = sum(state[name].size for name in trained)
    assert count == load_layout("issam")["parameters"] == registry.get("issam").parameters
    broken = {k: v for k, v in state.items() if k != "decoder.to_rgb.bias"}
    with pytest.raises(InputError, match=r"1 missing \(decoder.to_rgb.bias\)"):
        from_torch("issam", broken)
    with pytest.raises(InputError, match=r"1 unknown \(extra\)"):
        from_torch("issam", {**state, "extra": np.zeros(1)})
    with pytest.raises(InputError, match=r"encoder.block0.* has shape .* does not fit \[3, 3, "):
        from_torch("issam", state, base_channels=16)


def shapes(config):
    side = config.min_size
    image, mask = jnp.zeros((1, side, side, 3)), jnp.zeros((1, side, side, 1))
    return jax.eval_shape(Issam(config).init, jax.random.key(0), image, mask)


def count_parameters(config):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(config)["params"]))


def test_each_option_has_its_effect():
    assert count_parameters(IssamConfig()) == 2_185_340
    assert count_parameters(IssamConfig(image_fusion=False)) == 2_185_307  # the teacher
    without = shapes(IssamConfig(ssam=False))
    assert set(without) == {"params", "batch_stats"}  # no blur without attention
    assert count_parameters(IssamConfig(ssam=False)) == 2_185_340 - 41_880
    assert count_parameters(IssamConfig(skips=False)) < count_parameters(IssamConfig())
    assert shapes(IssamConfig(depth=5, max_channels=256))["params"]["encoder4"]["conv1"][
        "kernel"
    ].shape == (3, 3, 256, 256)
    assert IssamConfig(depth=5).size_multiple == 16
    attended = [set(shapes(IssamConfig(attend_from=first))["buffers"]) for first in (0, 2)]
    assert len(attended[0]) == len(attended[1]) + 2  # two more blocks with a blurred mask
    normalized = [shapes(IssamConfig(batch_norm_from=first))["batch_stats"] for first in (0, 3)]
    assert {"encoder0", "encoder1", "encoder2"} <= set(normalized[0]) - set(normalized[1])


@pytest.mark.slow
def test_the_blur_can_start_as_noise():
    image, mask = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 64, 64, 1))
    tiny = IssamConfig.tiny()
    kernels = [
        jax.tree.leaves(jax.jit(Issam(config).init)(jax.random.key(0), image, mask)["buffers"])[0]
        for config in (tiny, dataclasses.replace(tiny, random_blur_init=True))
    ]
    assert float(kernels[0].sum()) == pytest.approx(1, abs=1e-5)
    assert kernels[0].shape == kernels[1].shape
    assert float(jnp.abs(kernels[0] - kernels[1]).max()) > 1e-3


@pytest.mark.parametrize(
    ("field", "value"), [("depth", 1), ("base_channels", 0), ("attention_mid", 0.0)]
)
def test_impossible_options_are_named(field, value):
    with pytest.raises(InputError, match=f"IssamConfig.{field}={value}"):
        dataclasses.replace(IssamConfig.tiny(), **{field: value})


@pytest.fixture(scope="module")
def tiny():
    """A tiny model, its variables, a non-square composite with a mask."""
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.random((2, 16, 24, 3)), jnp.float32)
    mask = jnp.asarray(rng.random((2, 16, 24, 1)) > 0.6, jnp.float32)
    model = Issam(IssamConfig.tiny())
    return model, random_variables(model, image, mask), image, mask


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK_COMPILE)
def predict(model, variables, image, mask):
    return model.apply(variables, image, mask)


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK_COMPILE)
def gradients(model, variables, image, mask):
    def loss(params):
        output, _ = model.apply(
            {**variables, "params": params}, image, mask, train=True, mutable=["batch_stats"]
        )
        return jnp.mean(jnp.square(output.aux["raw"] - image))

    return jax.grad(loss)(variables["params"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hard", "empty", "full"])
def test_gradients_are_finite_and_reach_every_parameter(tiny, kind):
    model, variables, image, mask = tiny
    mask = {"hard": mask, "empty": 0 * mask, "full": 0 * mask + 1}[kind]

    grads = gradients(model, variables, image, mask)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert bool(jnp.isfinite(grad).all()), jax.tree_util.keystr(path)
        if kind == "hard" and not jax.tree_util.keystr(path).endswith("0']['bias']"):
            assert float(jnp.abs(grad).max()) > 0, jax.tree_util.keystr(path)


def test_the_mask_can_be_withheld(tiny):
    model, variables, image, mask = tiny
    blind = Issam(dataclasses.replace(model.config, use_mask=False))
    seen = predict(blind, variables, image, mask).aux["raw"]
    empty, whole = (predict(model, variables, image, m).aux["raw"] for m in (0 * mask, mask))
    np.testing.assert_allclose(seen, empty, atol=1e-6)
    assert not np.allclose(seen, whole)


def test_the_flip_average_is_the_mean_of_two_predictions(tiny):
    model, variables, image, mask = tiny
    both = predict(
        Issam(dataclasses.replace(model.config, flip_average=True)), variables, image, mask
    )
    plain = predict(model, variables, image, mask)
    mirrored = predict(model, variables, image[:, :, ::-1], mask[:, :, ::-1])
    wanted = (plain.aux["raw"] + mirrored.aux["raw"][:, :, ::-1]) / 2
    np.testing.assert_allclose(both.aux["raw"], wanted, atol=1e-6)
    np.testing.assert_allclose(both.image, np.clip(wanted, 0, 1), atol=1e-6)
    assert not np.allclose(both.image, plain.image, atol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        both.aux["encoder"],
        plain.aux["encoder"],
    )


def test_the_blur_is_a_gaussian_by_default():
    def drawn(**options):
        x, mask = jnp.zeros((1, 4, 4, 8)), jnp.zeros((1, 4, 4, 1))
        attention = SpatialSeparatedAttention(0.5, **options)
        variables = attention.init(jax.random.key(3), x, mask, train=False)
        return variables["buffers"]["blur"][:, :, 0, 0]

    blur = drawn()
    assert float(blur.sum()) == pytest.approx(1)
    assert float(blur[3, 3] / blur[3, 4]) == pytest.approx(np.exp(0.5), rel=1e-5)
    noise = drawn(random_blur=True)
    assert float(noise.min()) < 0
    assert float(noise.std()) == pytest.approx(1 / 7, rel=0.4)


def test_bfloat16_stays_close_to_float32(tiny):
    model, variables, image, mask = tiny
    low = predict(Issam(model.config, dtype=jnp.bfloat16), variables, image, mask).aux["raw"]
    assert low.dtype == jnp.float32
    exact = predict(model, variables, image, mask).aux["raw"]
    assert float(jnp.abs(low - exact).mean()) < 0.02 * float(jnp.abs(exact).max())


@pytest.mark.parametrize("size", [(16, 20), (4, 8)])
def test_unsupported_sizes_are_named(tiny, size):
    model, variables, _, _ = tiny
    with pytest.raises(
        ValueError, match=rf"iSSAM needs .* multiples of 8 and at least 8, not {size[0]}x{size[1]}"
    ):
        model.apply(variables, jnp.zeros((1, *size, 3)), jnp.zeros((1, *size, 1)))


@pytest.mark.golden
def test_official_weights_come_back(state):
    assert_comes_back("issam", state)

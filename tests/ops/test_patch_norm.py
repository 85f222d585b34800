"""Patch normalization: goldens, definition, gradients, degenerate cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.golden_recipe import fill, region_norm_override
from support.goldens import load_golden

from jaxharm.errors import InputError
from jaxharm.ops import patch_norm, patches

VECTORS = ("fg_var", "fg_bias", "patched_fg_var", "patched_fg_bias", "bg_var", "bg_bias")
BLOCKS = {"a": (8, 3), "b": (4, 2), "c": (4, 10)}
CASES = ["normal", "corner_fg", "corner_bg", "full_fg", "empty_fg", "one_pixel", "half", "soft"]


def nhwc(value):
    return jnp.asarray(np.moveaxis(value, 1, -1))


def golden_params(block, channels, grid):
    shapes = {
        "weights": (2,),
        **dict.fromkeys(VECTORS, (1, channels, 1, 1)),
        "grid_weights": (1, channels, grid, grid),
    }
    draws = {
        name: fill(f"normalizers.{block}.{name}", shape, override=region_norm_override)
        for name, shape in shapes.items()
    }
    return {name: our_layout(name, value) for name, value in draws.items()}


def our_layout(name, value):
    if name == "weights":
        return value
    return value[0].transpose(1, 2, 0) if name == "grid_weights" else value.reshape(-1)


def random_case(*, size=(17, 13), channels=5, grid=3, soft=True, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((2, *size, 1))
    params = {name: rng.normal(1, 0.3, channels) for name in VECTORS}
    params |= {
        "weights": rng.normal(0.5, 0.1, 2),
        "grid_weights": rng.normal(0.1, 0.05, (grid, grid, channels)),
    }
    x = rng.normal(size=(2, *size, channels))
    return x, mask if soft else (mask > 0.5).astype(np.float64), params


def numpy_patch_norm(x, mask, params, grid, eps=1e-7):
    """The formulas of the paper, image by image and patch by patch, in float64."""
    out = np.empty_like(x)
    b, h, w, _ = x.shape

    def mean(t, k):
        return (t * k).sum((0, 1)) / (k.sum() + eps)

    def std(t, k):
        return np.sqrt((((t - mean(t, k)) * k) ** 2).sum((0, 1)) / (k.sum() + eps) + eps)

    def cut(n):
        return [
            (j * (n // grid), n if j == grid - 1 else (j + 1) * (n // grid)) for j in range(grid)
        ]

    for i in range(b):
        t, m = x[i], mask[i]
        patch = sum(
            params["grid_weights"][r, s] * mean(t[y0:y1, x0:x1], 1 - m[y0:y1, x0:x1])
            for r, (y0, y1) in enumerate(cut(h))
            for s, (x0, x1) in enumerate(cut(w))
        )
        bg_mean, bg_std = mean(t, 1 - m), std(t, 1 - m)
        unit = (t - mean(t, m)) / std(t, m) * bg_std
        whole = (unit + bg_mean) * params["fg_var"] + params["fg_bias"]
        patched = (unit + patch) * params["patched_fg_var"] + params["patched_fg_bias"]
        fg = params["weights"][0] * whole + params["weights"][1] * patched
        out[i] = fg * m + ((t - bg_mean) / bg_std * params["bg_var"] + params["bg_bias"]) * (1 - m)
    return out


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(grid, x, mask, params, cotangent):
    out, pullback = jax.vjp(lambda *a: patch_norm(*a, grid=grid), x, mask, params)
    return out, *pullback(cotangent)


@pytest.fixture(scope="module")
def blocks():
    return load_golden("patch_norm")


@pytest.mark.golden
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("case", CASES)
def test_golden_block_and_all_gradients(blocks, block, case):
    channels, grid = BLOCKS[block]
    params = golden_params(block, channels, grid)
    one_pixel = case == "one_pixel"
    out, dx, _, dparams = value_and_gradients(
        grid,
        nhwc(blocks[f"{block}_x"]),
        nhwc(blocks[f"{block}_{case}_mask"]),
        params,
        nhwc(blocks[f"{block}_cotangent"]),
    )
    want = nhwc(blocks[f"{block}_{case}_out"])
    np.testing.assert_allclose(out, want, rtol=0, atol=5e-4 if one_pixel else 1e-5)
    gradients = {"x": (dx, nhwc(blocks[f"{block}_{case}_grad_x"]))}
    for name, value in dparams.items():
        gradients[name] = (value, our_layout(name, blocks[f"{block}_{case}_grad_{name}"]))
    for name, (got, expected) in gradients.items():
        error, norm = np.linalg.norm(got - expected), np.linalg.norm(expected)
        assert error <= (5e-3 if one_pixel else 1e-5) * norm + 1e-12, name


@pytest.mark.parametrize(("size", "grid"), [((17, 13), 3), ((16, 16), 1), ((12, 31), 10)])
def test_reference_is_the_paper_formula(size, grid):
    x, mask, params = random_case(size=size, grid=grid)
    jitted = jax.jit(functools.partial(patch_norm, grid=grid))
    got = jitted(*jax.tree.map(jnp.float32, (x, mask, params)))
    np.testing.assert_allclose(got, numpy_patch_norm(x, mask, params, grid), atol=5e-6)


@pytest.mark.parametrize("argument", ["x", "mask", *VECTORS, "weights", "grid_weights"])
def test_every_gradient_is_the_slope_of_the_formula(argument):
    x, mask, params = random_case(size=(9, 8), channels=2, grid=2)
    rng = np.random.default_rng(7)
    cotangent = rng.normal(size=x.shape)
    direction = rng.normal(size=np.shape({"x": x, "mask": mask, **params}[argument]))

    def moved(step):
        inputs = {"x": x, "mask": mask, **params}
        inputs[argument] = inputs[argument] + step * direction
        x_, mask_ = inputs.pop("x"), inputs.pop("mask")
        return float((numpy_patch_norm(x_, mask_, inputs, 2) * cotangent).sum())

    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    _, dx, dmask, dparams = value_and_gradients(
        2, *jax.tree.map(jnp.float32, (x, mask, params, cotangent))
    )
    ours = float((np.asarray({"x": dx, "mask": dmask, **dparams}[argument]) * direction).sum())
    assert ours == pytest.approx(slope, rel=2e-5, abs=1e-4)


def test_patches_give_the_remainder_to_the_last_one():
    assert np.bincount(patches.indices(128, 3)).tolist() == [42, 42, 44]
    assert np.bincount(patches.indices(64, 10)).tolist() == [6] * 9 + [10]
    assert np.bincount(patches.indices(7, 7)).tolist() == [1] * 7


def test_bfloat16_input_keeps_float32_statistics():
    x, mask, params = jax.tree.map(jnp.float32, random_case(soft=False))
    x16 = (x + 40).astype(jnp.bfloat16)  # a mean far above the spread: bf16 sums would drown it
    got = patch_norm(x16, mask, params, grid=3)
    assert got.dtype == jnp.bfloat16
    exact = patch_norm(x16.astype(jnp.float32), mask, params, grid=3)
    np.testing.assert_allclose(got.astype(jnp.float32), exact, rtol=2**-8, atol=1e-6)


def test_works_under_vmap():
    x, mask, params = jax.tree.map(jnp.float32, random_case())
    one = jax.jit(jax.vmap(lambda x, m: patch_norm(x[None], m[None], params, grid=3)[0]))
    single = one(x, mask)
    np.testing.assert_allclose(single, patch_norm(x, mask, params, grid=3), atol=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.ones((2, 17, 12, 1), np.float32)}, "mask is"),
        ({"grid": 14}, "grid=14"),
        ({"implementation": "fast"}, "unknown implementation='fast'"),
    ],
)
def test_bad_arguments_are_named(change, message):
    x, mask, params = jax.tree.map(jnp.float32, random_case())
    arguments = {"x": x, "mask": mask, "params": params, "grid": 3} | change
    with pytest.raises(InputError, match=message):
        patch_norm(**arguments)


def test_bad_params_are_named():
    x, mask, params = jax.tree.map(jnp.float32, random_case())
    with pytest.raises(InputError, match="grid_weights"):
        patch_norm(x, mask, params, grid=2)
    with pytest.raises(InputError, match="needed: weights"):
        patch_norm(x, mask, {"weights": params["weights"]}, grid=3)

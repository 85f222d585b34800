"""Dynamic filtering: goldens, the formula in loops, properties, both gradients, bad arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.goldens import load_golden

from jaxharm.errors import InputError
from jaxharm.ops import dynamic_filter
from jaxharm.ops.dynamic_filter import reference

CASES = "abcdefg"
# x, groups, kernel size, dilation, padding; the last ones reach beyond the image.
SHAPES = [
    ((1, 4, 5, 6), 3, 3, 1, "zero"),
    ((2, 3, 4, 4), 4, 5, 1, "reflect"),
    ((1, 5, 4, 2), 1, 3, 2, "reflect"),
    ((1, 2, 3, 2), 2, 5, 2, "reflect"),
    ((1, 2, 3, 2), 1, 7, 1, "zero"),
    ((2, 3, 3, 2), 2, 1, 1, "reflect"),
]


def loops(x, kernels, dy, dilation, padding):
    """The definition, pixel by pixel: y, and the gradients of sum(y*dy)."""
    b, h, w, c = x.shape
    groups, size = kernels.shape[3:5]
    y, dx, dk = np.zeros_like(x), np.zeros_like(x), np.zeros_like(kernels)

    def source(position, length):
        while padding == "reflect" and not 0 <= position < length and length > 1:
            position = -position if position < 0 else 2 * (length - 1) - position
        return position if 0 <= position < length else None

    for n, i, j, ch, u, v in np.ndindex(b, h, w, c, size, size):
        row = source(i + (u - size // 2) * dilation, h)
        column = source(j + (v - size // 2) * dilation, w)
        if row is None or column is None:
            continue
        place, group = (n, row, column, ch), ch // (c // groups)
        y[n, i, j, ch] += kernels[n, i, j, group, u, v] * x[place]
        dx[place] += kernels[n, i, j, group, u, v] * dy[n, i, j, ch]
        dk[n, i, j, group, u, v] += dy[n, i, j, ch] * x[place]
    return y, dx, dk


def draw(shape, groups, size, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.normal(size=(*shape[:3], groups, size, size))


@functools.partial(jax.jit, static_argnums=(0, 1))
def value_and_gradients(dilation, padding, x, kernels, dy):
    run = functools.partial(dynamic_filter, dilation=dilation, padding=padding)
    y, pullback = jax.vjp(run, x, kernels)
    return y, *pullback(dy)


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("wide", [True, False], ids=["float64", "float32"])
def test_golden_modulation(case, wide):
    arrays = load_golden("dynamic_filter")
    options = {
        "padding": "reflect" if case in "ef" else "zero",
        "dilation": 2 if case == "g" else 1,
    }
    with jax.enable_x64(wide):
        inputs = [
            jnp.asarray(arrays[f"{case}_{n}"], "f8" if wide else "f4") for n in ("x", "k", "dy")
        ]
        found = value_and_gradients(options["dilation"], options["padding"], *inputs)
    for name, value in zip(("y", "dx", "dk"), found, strict=True):
        assert value.dtype == (np.float64 if wide else np.float32)
        tolerance = 1e-10 if wide else 2e-6
        np.testing.assert_allclose(value, arrays[f"{case}_{name}"], rtol=0, atol=tolerance)


@pytest.mark.golden
@pytest.mark.parametrize("size", [3, 5])
def test_golden_unfold(size):
    """The order of the taps is that of torch's unfold."""
    arrays = load_golden("unfold")
    x, raw = (np.moveaxis(arrays[f"k{size}_{n}"], 1, -1) for n in ("x", "raw"))
    kernels = raw.reshape(*x.shape, size, size)
    for padding in ("zero", "reflect"):
        with jax.enable_x64(True):
            y = dynamic_filter(jnp.asarray(x), jnp.asarray(kernels), padding=padding)
        expected = np.moveaxis(arrays[f"k{size}_y_{padding}"], 1, -1)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("shape", "groups", "size", "dilation", "padding"), SHAPES)
def test_reference_is_the_formula(shape, groups, size, dilation, padding):
    x, kernels = draw(shape, groups, size)
    dy = np.random.default_rng(1).normal(size=shape)
    with jax.enable_x64(True):
        found = value_and_gradients(dilation, padding, *map(jnp.asarray, (x, kernels, dy)))
    for got, expected in zip(found, loops(x, kernels, dy, dilation, padding), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_the_form_of_other_platforms_agrees(monkeypatch):
    """Accelerators make the kernel gradient in one piece; here that form runs on the CPU."""
    x, kernels = draw((2, 5, 4, 6), 3, 3)
    dy = np.random.default_rng(1).normal(size=x.shape)
    rowwise = reference.backward(*map(jnp.float32, (x, kernels, dy)), 1, "zero")[1]
    monkeypatch.setattr(
        reference.lax, "platform_dependent", lambda *args, cpu, default: default(*args)
    )
    whole = reference.backward(*map(jnp.float32, (x, kernels, dy)), 1, "zero")[1]
    np.testing.assert_allclose(whole, rowwise, rtol=0, atol=1e-6)


def test_properties():
    x, kernels = jax.tree.map(jnp.float32, draw((2, 5, 6, 4), 1, 3))
    delta = jnp.zeros((2, 5, 6, 4, 3, 3)).at[..., 1, 1].set(1)
    np.testing.assert_array_equal(dynamic_filter(x, delta), x)
    mean = jnp.full((2, 5, 6, 1, 3, 3), 1 / 9)
    constant = dynamic_filter(jnp.full_like(x, 0.7), mean, padding="reflect")
    np.testing.assert_allclose(constant, 0.7, rtol=1e-6)
    per_channel = dynamic_filter(x, jnp.repeat(kernels, 4, 3))
    np.testing.assert_allclose(dynamic_filter(x, kernels), per_channel, atol=1e-6)
    np.testing.assert_allclose(dynamic_filter(x, jnp.repeat(kernels, 2, 3)), per_channel, atol=1e-6)
    doubled = dynamic_filter(2 * x, kernels), dynamic_filter(x, 2 * kernels)
    np.testing.assert_allclose(doubled, [2 * dynamic_filter(x, kernels)] * 2, rtol=1e-6)


def test_bfloat16_sums_in_float32():
    x, kernels = (jnp.bfloat16(a) for a in draw((1, 6, 5, 4), 2, 3))
    dy = jnp.ones_like(x)
    found = value_and_gradients(1, "zero", x, kernels, dy)
    exact = value_and_gradients(1, "zero", *(a.astype(jnp.float32) for a in (x, kernels, dy)))
    for got, expected in zip(found, exact, strict=True):
        assert got.dtype == jnp.bfloat16
        np.testing.assert_allclose(got.astype(jnp.float32), expected, rtol=2**-8, atol=1e-6)


def test_works_under_vmap():
    x, kernels = jax.tree.map(jnp.float32, draw((2, 4, 5, 2), 2, 3))

    def both(x, kernels):
        return value_and_gradients(1, "zero", x[None], kernels[None], x[None])

    for got, expected in zip(
        jax.vmap(both)(x, kernels), value_and_gradients(1, "zero", x, kernels, x), strict=True
    ):
        np.testing.assert_allclose(got[:, 0], expected, atol=1e-6)


def test_nothing_is_unfolded():
    """Beyond the kernels' gradient, forward and backward need a few images, not k*k of them."""
    shape, kernels = (1, 32, 32, 8), (1, 32, 32, 8, 5, 5)
    arguments = [jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape, kernels, shape)]
    compiled = value_and_gradients.lower(1, "zero", *arguments).compile()
    image = 4 * 32 * 32 * 8
    assert compiled.memory_analysis().temp_size_in_bytes < 8 * image


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones((5, 6, 4), np.float32)}, r"x is \[5, 6, 4\], not"),
        ({"kernels": np.ones((2, 5, 5, 4, 3, 3), np.float32)}, r"kernels are \[2, 5, 5, 4, 3, 3\]"),
        ({"kernels": np.ones((2, 5, 6, 4, 2, 2), np.float32)}, "2x2; needed is .* odd side"),
        ({"kernels": np.ones((2, 5, 6, 3, 3, 3), np.float32)}, "3 kernel groups do not divide 4"),
        ({"dilation": 0}, "dilation=0"),
        ({"padding": "edge"}, "padding='edge'; choose from zero, reflect"),
        ({"implementation": "fast"}, "unknown implementation='fast'"),
    ],
)
def test_bad_arguments_are_named(change, message):
    x, kernels = jax.tree.map(jnp.float32, draw((2, 5, 6, 4), 4, 3))
    with pytest.raises(InputError, match=message):
        dynamic_filter(**{"x": x, "kernels": kernels} | change)

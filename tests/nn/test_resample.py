"""Resizing against the goldens and other implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.goldens import load_golden

from jaxharm.nn.resample import interpolation_matrix, resize, resize_conv3x3

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_golden(kind):
    golden = load_golden("resample")
    expected = golden[f"{kind}_out"]
    out = resize(golden[f"{kind}_in"], expected.shape[1:3], kind)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.golden
def test_golden_shading_enlarged_and_shrunk():
    golden = load_golden("resample")
    for name in ("shading_up", "shading_down_40x50_plain"):
        out = resize(golden["shading_low"], golden[name].shape[1:3], "bilinear")
        np.testing.assert_allclose(out, golden[name], rtol=1e-4, atol=1e-5)
    # How images shrink to a network's own size.
    expected = golden["shading_down_40x50_antialias"]
    out = jax.image.resize(golden["shading_low"], expected.shape, "linear", antialias=True)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_bilinear_equals_jax_image():
    x = normal(2, 5, 7, 3)
    expected = jax.image.resize(x, (2, 13, 9, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(resize(x, (13, 9), "bilinear"), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_rows_sum_to_one_and_equal_sizes_change_nothing(kind):
    np.testing.assert_allclose(interpolation_matrix(6, 37, kind).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(interpolation_matrix(9, 9, kind), np.eye(9), atol=1e-7)


def test_bicubic_reproduces_a_line_away_from_the_border():
    line = jnp.broadcast_to(jnp.arange(8.0)[None, :, None, None], (1, 8, 8, 1))
    out = resize(line, (32, 32), "bicubic")[0, :, 5, 0]
    positions = (np.arange(32) + 0.5) / 4 - 0.5
    inside = (positions >= 1) & (positions <= 6)
    np.testing.assert_allclose(out[inside], positions[inside], atol=0.08)
    # Clamped indices repeat the border values; a = -0.75 overshoots them a little.
    np.testing.assert_allclose(out[np.array([0, -1])], [0, 7], atol=0.15)


@pytest.mark.parametrize(
    ("small", "size"), [((4, 3), (17, 12)), ((1, 2), (8, 8)), ((6, 6), (6, 6))]
)
@pytest.mark.parametrize("padding", ["zero", "edge"])
def test_projected_form_equals_resize_then_convolution(small, size, padding):
    x, kernel, upstream = normal(2, *small, 5), normal(3, 3, 5, 1), normal(2, *size, 1)

    def direct(x, kernel):
        mode = "constant" if padding == "zero" else "edge"
        y = jax.lax.conv_general_dilated(
            jnp.pad(resize(x, size, "bicubic"), ((0, 0), (1, 1), (1, 1), (0, 0)), mode),
            kernel,
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return jnp.sum(y * upstream), y

    def projected(x, kernel):
        y = resize_conv3x3(x, kernel, size, "bicubic", padding=padding)
        return jnp.sum(y * upstream), y

    (expected, y), (got, z) = (
        jax.jit(jax.grad(f, (0, 1), has_aux=True))(x, kernel) for f in (direct, projected)
    )
    np.testing.assert_allclose(z, y, atol=2e-5)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_projected_form_never_holds_the_enlarged_channels():
    x, kernel = jax.ShapeDtypeStruct((1, 8, 8, 64), jnp.float32), jnp.ones((3, 3, 64, 1))
    lowered = jax.jit(lambda x: resize_conv3x3(x, kernel, (256, 256), "bicubic")).lower(x)
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 4 * 256 * 256 * 4

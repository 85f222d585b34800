"""Winograd's form of 3x3 convolutions: the same numbers, and where it is used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.ops import winograd
from jaxharm.ops.conv import conv2d
from jaxharm.ops.platforms import one_form_only

SAME = ((1, 1), (1, 1))
SIZES = [
    ((6, 8), SAME),
    ((7, 5), SAME),
    ((6, 7), ((0, 0), (0, 0))),
    ((5, 6), ((0, 1), (2, 0))),
    ((5, 6), ((2, 2), (2, 2))),
    ((1, 3), SAME),
]


def draw(size, padding, channels=5, features=4):
    rng = np.random.default_rng(0)
    height, width = (n + sum(sides) - 2 for n, sides in zip(size, padding, strict=True))
    shapes = (2, *size, channels), (3, 3, channels, features), (2, height, width, features)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def direct(x, kernel, padding):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize(("size", "padding"), SIZES)
def test_equals_the_convolution_and_its_gradients(size, padding):
    x, kernel, upstream = draw(size, padding)

    @jax.jit
    def reference(x, kernel):
        y, pullback = jax.vjp(lambda x, kernel: direct(x, kernel, padding), x, kernel)
        return y, *pullback(upstream)

    @jax.jit
    def ours(x, kernel):
        y = winograd.convolve(x, kernel, padding)
        dx = winograd.input_grad(kernel, upstream, padding)
        return y, dx, winograd.kernel_grad(x, upstream, padding)

    for found, want in zip(ours(x, kernel), reference(x, kernel), strict=True):
        assert found.shape == want.shape
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=2e-5)


def test_rounding_is_that_of_float32():
    """At most twice the direct form's distance from float64, for a wide layer."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 8, 8, 512))
    kernel = rng.standard_normal((3, 3, 512, 16)) / np.sqrt(9 * 512)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    want = sum(padded[:, i : i + 8, j : j + 8] @ kernel[i, j] for i in range(3) for j in range(3))
    arrays = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    ours, plain = (
        np.sqrt(np.mean(np.square(jax.jit(form, static_argnums=2)(*arrays, SAME) - want)))
        for form in (winograd.convolve, direct)
    )
    assert ours < 2 * plain < 2e-6


def convolutions(shape, features, *, kernel=3, stride=1, dtype=jnp.float32, platform="cpu"):
    """How many convolutions the program of one with both its gradients holds."""

    def run(x, weights):
        y, pullback = jax.vjp(lambda x, weights: conv2d(x, weights, stride, SAME), x, weights)
        return y, *pullback(jnp.ones_like(y))

    weights = jax.ShapeDtypeStruct((kernel, kernel, shape[-1], features), dtype)
    traced = jax.jit(run).trace(jax.ShapeDtypeStruct(shape, dtype), weights)
    return traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.convolution(")


def test_wide_layers_on_a_cpu_hold_no_convolution():
    assert convolutions((1, 16, 16, 192), 256) == 0
    assert convolutions((4, 8, 8, 192), 256) == 0


def test_others_keep_theirs():
    """Narrow ones but for their kernel gradient; few pixels, other shapes, chips: all of them."""
    assert convolutions((1, 16, 16, 16), 192) == 3
    assert convolutions((1, 16, 16, 128), 192) == 2
    assert convolutions((1, 8, 8, 192), 256) == 2
    assert convolutions((1, 16, 16, 192), 256, kernel=4, stride=2) >= 1
    assert convolutions((1, 16, 16, 192), 256, dtype=jnp.bfloat16) == 2
    assert convolutions((1, 16, 16, 192), 256, platform="tpu") == 3
    assert convolutions((1, 16, 16, 192), 256, platform="cuda") == 3


def test_portable_programs_keep_theirs():
    with one_form_only():
        assert convolutions((1, 16, 16, 192), 256) == 3

"""Convolutions: values and gradients against XLA's own forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxharm.nn.conv import Conv, ConvTranspose
from jaxharm.ops.conv import conv2d, conv_transpose2d

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def assert_same_with_gradients(ours, reference, x, kernel):
    """Outputs and both gradients agree to float32 rounding of their sums."""
    y = reference(x, kernel)
    grad = normal(*y.shape)
    values, pullback = jax.vjp(ours, x, kernel)
    expected, expected_pullback = jax.vjp(reference, x, kernel)
    pairs = [
        (values, expected),
        *zip(pullback(grad), expected_pullback(grad), strict=True),
    ]
    for got, want in pairs:
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=2e-6 * float(jnp.abs(want).max()) + 1e-6, rtol=0)


@pytest.mark.parametrize(
    ("size", "channels", "features", "kernel", "stride", "padding"),
    [
        ((9, 7), 32, 40, 3, 1, 1),  # matrix products
        ((9, 7), 3, 5, 3, 1, 1),  # too thin for them
        ((8, 12), 24, 32, 4, 2, 1),  # phase form of the input gradient
        ((9, 11), 24, 32, 4, 2, 1),  # odd sizes: the last row and column go unused
        ((10, 13), 32, 32, 3, 2, 1),
        ((6, 6), 32, 32, 1, 1, 0),
        ((11, 10), 32, 24, 5, 1, 2),
        ((10, 11), 32, 24, 5, 3, 0),
    ],
)
def test_conv_and_its_gradients_match_xla(size, channels, features, kernel, stride, padding):
    pad = ((padding, padding),) * 2

    def reference(x, k):
        return lax.conv_general_dilated(
            x, k, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    assert_same_with_gradients(
        lambda x, k: conv2d(x, k, stride, pad),
        reference,
        normal(2, *size, channels),
        normal(kernel, kernel, channels, features) / (kernel * channels**0.5),
    )


@pytest.mark.parametrize(("channels", "features"), [(32, 24), (4, 3)])
def test_transposed_conv_and_its_gradients_match_xla(channels, features):
    assert_same_with_gradients(
        conv_transpose2d,
        lambda x, k: lax.conv_transpose(x, k, (2, 2), "SAME"),
        normal(2, 5, 7, channels),
        normal(4, 4, channels, features) / (2 * channels**0.5),
    )


def test_transposed_conv_refuses_another_kernel():
    with pytest.raises(ValueError, match="4x4"):
        conv_transpose2d(normal(1, 4, 4, 2), normal(3, 3, 2, 2))


def test_several_inputs_count_as_their_concatenation():
    a, b = normal(2, 6, 5, 8), normal(2, 6, 5, 4)
    layer = Conv(features=7, kernel_size=3, padding=1)
    variables = layer.init(jax.random.key(0), a, b)
    whole = layer.apply(variables, jnp.concatenate([a, b], -1))
    np.testing.assert_allclose(layer.apply(variables, a, b), whole, atol=2e-6)


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (Conv(features=32, kernel_size=3, padding=1), 16 * 9),
        (ConvTranspose(features=32, kernel_size=4), 32 * 16),
    ],
)
def test_initial_weights_fill_the_official_range(layer, fan_in):
    params = layer.init(jax.random.key(1), jnp.zeros((1, 4, 4, 16)))["params"]
    bound = fan_in**-0.5
    for name in ("kernel", "bias"):
        top = float(jnp.abs(params[name]).max())
        assert 0.8 * bound < top <= bound, name


def test_bfloat16_arithmetic_keeps_float32_parameters():
    layer = Conv(features=32, kernel_size=3, padding=1, dtype=jnp.bfloat16)
    x = normal(1, 6, 6, 32)
    variables = layer.init(jax.random.key(0), x)
    exact = Conv(features=32, kernel_size=3, padding=1).apply(variables, x)

    def loss(variables):
        return jnp.sum(layer.apply(variables, x).astype(jnp.float32) ** 2)

    y = layer.apply(variables, x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=0.03)
    grads = jax.grad(loss)(variables)["params"]
    assert grads["kernel"].dtype == grads["bias"].dtype == jnp.float32

"""Convolutions with a mirrored border: values and gradients against padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.papers.propih.reflect_conv import ReflectConv, nearest_conv3x3, reflect_conv3x3

RNG = np.random.default_rng(4)


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def by_padding(kernel, *inputs):
    x = jnp.pad(jnp.concatenate(inputs, -1), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout)


def enlarged(kernel, x):
    return by_padding(kernel, jnp.repeat(jnp.repeat(x, 2, 1), 2, 2))


@pytest.mark.parametrize(
    ("function", "definition", "channels"),
    [
        (reflect_conv3x3, by_padding, (5,)),
        (reflect_conv3x3, by_padding, (3, 4)),
        (nearest_conv3x3, enlarged, (5,)),
    ],
)
@pytest.mark.parametrize("size", [(7, 6), (2, 3)])
def test_values_and_gradients_are_those_of_the_padded_image(function, definition, channels, size):
    kernel = normal(3, 3, sum(channels), 4)
    inputs = [normal(2, *size, c) for c in channels]
    got, pullback = jax.vjp(jax.jit(function), kernel, *inputs)
    want, reference = jax.vjp(definition, kernel, *inputs)
    np.testing.assert_allclose(got, want, atol=1e-5)
    grad = normal(*want.shape)
    for one, other in zip(pullback(grad), reference(grad), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_layer_doubles_and_takes_several_inputs():
    x, y = normal(1, 4, 6, 2), normal(1, 4, 6, 3)
    layer = ReflectConv(5, double=True)
    out, _ = layer.init_with_output(jax.random.key(0), x)
    assert out.shape == (1, 8, 12, 5)
    out, variables = ReflectConv(5).init_with_output(jax.random.key(0), x, y)
    assert out.shape == (1, 4, 6, 5)
    assert variables["params"]["kernel"].shape == (3, 3, 5, 5)

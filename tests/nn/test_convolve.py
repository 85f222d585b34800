"""Convolutions that are better done as one matrix product."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.nn.conv import Conv
from jaxharm.ops.conv import convolve

# size, channels, features, kernel, stride, padding
PRODUCTS = [
    ((5, 7), 6, 9, 1, 1, 0),
    ((2, 2), 6, 5, 4, 2, 1),  # to one pixel: 12 of 16 taps meet only padding
    ((2, 2), 6, 5, 3, 1, 1),
    ((4, 5), 3, 4, 4, 2, 1),
]
CONVOLUTIONS = [((8, 8), 3, 4, 3, 1, 1), ((6, 5), 3, 4, 1, 2, 0)]


def reference(x, kernel, stride, pad):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize(
    ("size", "channels", "features", "kernel", "stride", "padding"), PRODUCTS + CONVOLUTIONS
)
def test_equals_the_convolution(size, channels, features, kernel, stride, padding):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((3, *size, channels)), jnp.float32)
    shape = (kernel, kernel, channels, features)
    weights = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    pad = ((padding, padding),) * 2
    upstream = rng.standard_normal(reference(x, weights, stride, pad).shape).astype(np.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def run(form, x, weights):
        y, gradients = jax.vjp(lambda x, w: form(x, w, stride, pad), x, weights)
        return y, *gradients(upstream)

    for a, b in zip(run(convolve, x, weights), run(reference, x, weights), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize(("size", "channels", "features", "kernel", "stride", "padding"), PRODUCTS)
def test_layer_holds_no_convolution(size, channels, features, kernel, stride, padding):
    """Neither forward nor backward: XLA's are up to 40 times slower on CPU for these shapes."""
    layer = Conv(features, kernel, stride, padding, use_bias=False)
    x = jax.ShapeDtypeStruct((3, *size, channels), jnp.float32)
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)

    def objective(variables, x):
        return jnp.sum(jnp.square(layer.apply(variables, x)))

    text = jax.jit(jax.grad(objective, (0, 1))).lower(variables, x).as_text()
    assert "dot_general" in text
    assert "stablehlo.convolution" not in text

"""Enlarging and convolving in one map: against doing one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.nn.resample import interpolation_matrix, resize
from jaxharm.nn.upsample_conv import upsample_conv3x3
from jaxharm.ops.conv import conv2d

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def one_after_the_other(x, kernel):
    large = resize(x, (2 * x.shape[1], 2 * x.shape[2]), "aligned")
    return conv2d(large, kernel, 1, ((1, 1), (1, 1)))


def test_aligned_corners():
    np.testing.assert_allclose(
        interpolation_matrix(2, 4, "aligned") @ [0, 1], [0, 1 / 3, 2 / 3, 1], atol=1e-6
    )
    np.testing.assert_allclose(interpolation_matrix(5, 1, "aligned"), [[1, 0, 0, 0, 0]])
    np.testing.assert_allclose(interpolation_matrix(6, 3, "aligned") @ np.arange(6), [0, 2.5, 5])


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 3)])
def test_equals_enlarging_then_convolving(size):
    x, kernel = normal(2, *size, 3), normal(3, 3, 3, 4)
    upstream = normal(2, 2 * size[0], 2 * size[1], 4)

    @jax.jit
    def both(x, kernel, upstream):
        results = []
        for function in (upsample_conv3x3, one_after_the_other):
            y, pullback = jax.vjp(function, x, kernel)
            results.append((y, *pullback(upstream)))
        return results

    for got, expected in zip(*both(x, kernel, upstream), strict=True):
        np.testing.assert_allclose(got, expected, atol=3e-5)


def test_the_enlarged_input_is_never_made():
    x = jax.ShapeDtypeStruct((1, 64, 64, 64), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 64, 1), jnp.float32)
    used = jax.jit(upsample_conv3x3).lower(x, kernel).compile().memory_analysis()
    assert used.temp_size_in_bytes < 128 * 128 * 64 * 4 / 2

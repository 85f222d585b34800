"""Depthwise convolution: the CPU form equals XLA's grouped convolution, gradients included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.nn.depthwise import depthwise_conv


def grouped(x, kernel, stride):
    pad = (kernel.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("size", "k"), [((8, 6), 3), ((7, 9), 5), ((2, 1), 5)])
def test_equals_the_grouped_convolution(size, k, stride):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((3, *size, 6)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((k, k, 1, 6)), jnp.float32)
    upstream = jnp.asarray(rng.standard_normal(grouped(x, kernel, stride).shape), jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def run(convolve, x, kernel):
        y, gradients = jax.vjp(lambda x, w: convolve(x, w, stride), x, kernel)
        return y, *gradients(upstream)

    for a, b in zip(run(depthwise_conv, x, kernel), run(grouped, x, kernel), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)


def test_bfloat16_gradients_keep_their_dtype():
    x, kernel = jnp.ones((2, 4, 4, 3), jnp.bfloat16), jnp.ones((3, 3, 1, 3), jnp.bfloat16)
    y, gradients = jax.vjp(lambda x, w: depthwise_conv(x, w, 1), x, kernel)
    d_x, d_kernel = gradients(y)
    assert (y.dtype, d_x.dtype, d_kernel.dtype) == (jnp.bfloat16,) * 3
    assert d_kernel[1, 1, 0, 0] == y[..., 0].sum()


def test_other_platforms_get_one_convolution():
    x, kernel = jnp.zeros((1, 8, 8, 4)), jnp.zeros((3, 3, 1, 4))
    exported = jax.export.export(jax.jit(lambda x, w: depthwise_conv(x, w, 1)), platforms=["cuda"])(
        x, kernel
    )
    assert "feature_group_count = 4" in exported.mlir_module()

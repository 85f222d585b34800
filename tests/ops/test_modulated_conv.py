"""Modulated convolution: goldens with gradients, invariances, degenerate scales, bad arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.golden_recipe import fill
from support.goldens import load_golden

from jaxharm.errors import InputError
from jaxharm.ops import modulated_conv

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def nhwc(value):
    return jnp.asarray(np.moveaxis(value, 1, -1))


@pytest.fixture(scope="module")
def golden():
    return load_golden("modulated_conv")


@functools.partial(jax.jit, static_argnums=0)
def run_equalized(demodulate, x, stored, scales):
    """The official layer: a stored OIHW kernel, divided by the root of its fan-in."""

    def apply(x, scales, stored):
        kernel = stored.transpose(2, 3, 1, 0) / np.sqrt(np.prod(stored.shape[1:]))
        return modulated_conv(x, kernel, scales, demodulate=demodulate)

    y, pullback = jax.vjp(apply, x, scales, stored)
    # The golden's upstream gradient counts in the order of NCHW.
    b, h, w, o = y.shape
    upstream = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(b, o, h, w)
    return y, *pullback(jnp.moveaxis(upstream, 1, -1))


@pytest.mark.golden
@pytest.mark.parametrize("case", ["modconv_demod", "modconv_nodemod", "modconv_1x1"])
def test_golden_values_and_gradients(golden, case):
    side = 1 if case == "modconv_1x1" else 3
    stored = fill(f"{case}.weight.weight", (5, 6, side, side))
    y, dx, ds, dw = run_equalized(
        case != "modconv_nodemod", nhwc(golden["x"]), stored, jnp.asarray(golden["s"])
    )
    np.testing.assert_allclose(y, nhwc(golden[f"{case}_y"]), rtol=0, atol=1e-5)
    expected = {
        "dx": (dx, nhwc(golden[f"{case}_dx"])),
        "ds": (ds, golden[f"{case}_ds"]),
        "dw": (dw, golden[f"{case}_dw"]),
    }
    for name, (got, want) in expected.items():
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=name)


def test_equals_one_kernel_per_image():
    x, kernel, scales = normal(3, 6, 5, 4), normal(3, 3, 4, 2), normal(3, 4)
    y = modulated_conv(x, kernel, scales)
    for i in range(3):
        own = kernel * scales[i][None, None, :, None]
        own = own / jnp.sqrt(jnp.sum(own**2, (0, 1, 2), keepdims=True))
        expected = jax.lax.conv_general_dilated(
            x[i : i + 1], own, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        np.testing.assert_allclose(y[i : i + 1], expected, atol=1e-5)


def test_a_common_factor_of_the_scales_changes_only_the_sign():
    x, kernel, scales = normal(2, 5, 5, 4), normal(3, 3, 4, 3), normal(2, 4)
    y = modulated_conv(x, kernel, scales)
    np.testing.assert_allclose(modulated_conv(x, kernel, 7 * scales), y, atol=1e-5)
    np.testing.assert_allclose(modulated_conv(x, kernel, -3 * scales), -y, atol=1e-5)
    free = modulated_conv(x, kernel, scales, demodulate=False)
    np.testing.assert_allclose(
        modulated_conv(x, kernel, 7 * scales, demodulate=False), 7 * free, rtol=1e-4, atol=1e-4
    )


def test_scales_of_zero_give_zero_and_finite_gradients():
    x, kernel = normal(2, 5, 5, 4), normal(3, 3, 4, 3)
    y, pullback = jax.vjp(modulated_conv, x, kernel, jnp.zeros((2, 4)))
    np.testing.assert_array_equal(y, 0)
    for grad in pullback(jnp.ones_like(y)):
        assert bool(jnp.isfinite(grad).all())


def test_dtype_is_that_of_the_input():
    x, kernel, scales = normal(2, 5, 5, 4), normal(3, 3, 4, 3), normal(2, 4)
    low = modulated_conv(x.astype(jnp.bfloat16), kernel, scales)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(low.astype(jnp.float32), modulated_conv(x, kernel, scales), atol=0.1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": jnp.zeros((5, 5, 4))}, r"x is \[5, 5, 4\], not \[b,h,w,c\]"),
        ({"kernel": jnp.zeros((3, 3, 5, 3))}, r"kernel is .*, not \[k,l,4,o\]"),
        ({"kernel": jnp.zeros((2, 3, 4, 3))}, "k and l odd"),
        ({"scales": jnp.zeros((1, 4))}, r"scales are \[1, 4\], not \[2, 4\]"),
        ({"implementation": "pallas_tpu"}, "no implementation='pallas_tpu'"),
        ({"implementation": "fast"}, "unknown implementation='fast'"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    arguments = {
        "x": jnp.zeros((2, 5, 5, 4)),
        "kernel": jnp.zeros((3, 3, 4, 3)),
        "scales": jnp.zeros((2, 4)),
        **changed,
    }
    x, kernel, scales = (arguments.pop(name) for name in ("x", "kernel", "scales"))
    with pytest.raises(InputError, match=message):
        modulated_conv(x, kernel, scales, **arguments)

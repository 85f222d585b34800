"""The kernels of masked_moments, interpreted: float64, large offsets, repeats; and lowered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import region_cases
from support.kernel_runs import INTERPRET, lowerings
from support.lowering import count_kernels, lower
from support.region_cases import MASKS, SHAPES, assert_close, assert_same_bits, draw, in_float64

from jaxharm.errors import InputError
from jaxharm.ops import masked_moments
from jaxharm.ops.masked_moments import pallas_tpu, pallas_triton

LOWERINGS = {"tpu": pallas_tpu, "cuda": pallas_triton}
EPS = 1e-5
parametrize_lowering = pytest.mark.parametrize("lowering", lowerings())


@functools.partial(jax.jit, static_argnums=0)
def run(lowering, x, mask, upstream):
    """Mean and deviation, and the gradients towards x and the mask."""
    module = LOWERINGS[lowering]
    found = module.forward(x, mask, EPS, interpret=INTERPRET)
    return found[:2], module.backward(x, mask, found, upstream, EPS, interpret=INTERPRET)


def upstream_of(x):
    return tuple(np.random.default_rng(4).normal(size=(2, len(x), 1, 1, x.shape[-1])))


def both(lowering, x, mask):
    """What the kernels find, and float64."""
    upstream = tuple(map(np.float32, upstream_of(x)))
    found = run(lowering, x, mask, upstream)
    return found, in_float64(region_cases.moments, (x, mask), upstream)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@parametrize_lowering
def test_values_and_gradients_are_those_of_float64(lowering, shape):
    for kind in MASKS:
        x, mask, _ = draw(SHAPES[shape], kind)
        # One pixel: all that is left of the variance is the rounding of n + eps.
        assert_close(*both(lowering, x, mask), 5e-4 if "one pixel" in (kind, shape) else 3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hard", "soft"])
@parametrize_lowering
def test_a_large_offset_keeps_the_deviation(lowering, kind):
    x, mask, _ = draw(SHAPES["64 channels"], kind, offset=1e3, spread=0.1)
    x[:, :5] -= np.float32(7.0)  # another level in the first rows
    ((mean, std), gradients), ((want_mean, want_std), want) = both(lowering, x, mask)
    np.testing.assert_allclose(mean, want_mean, rtol=3e-7)
    # E[x^2] - E[x]^2 would be off by several tenths.
    np.testing.assert_allclose(std, want_std, rtol=2e-5)
    assert_close(gradients, want, 2e-4)


@pytest.mark.slow
@parametrize_lowering
def test_bfloat16_is_summed_in_float32(lowering):
    x, mask, _ = draw(SHAPES["64 channels"], offset=40)
    x, mask = jnp.asarray(x, jnp.bfloat16), jnp.asarray(mask, jnp.bfloat16)
    (moments, gradients), want = both(lowering, x, mask)
    assert moments[0].dtype == moments[1].dtype == jnp.float32
    assert gradients[0].dtype == gradients[1].dtype == jnp.bfloat16
    assert_close(moments, want[0], 2e-6)
    assert_close(tuple(g.astype(jnp.float32) for g in gradients), want[1], 2**-8)


@pytest.mark.slow
@parametrize_lowering
def test_two_runs_have_the_same_bits(lowering):
    x, mask, _ = draw(SHAPES["64 channels"])
    upstream = tuple(map(np.float32, upstream_of(x)))
    assert_same_bits(*(run(lowering, x, mask, upstream) for _ in range(2)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(16, 256, 256, 64), (16, 32, 32, 512), (1, 131, 111, 3)])
@pytest.mark.parametrize("platform", LOWERINGS)
def test_both_kernels_lower(platform, shape, dtype):
    x = jax.ShapeDtypeStruct(shape, dtype)
    mask = jax.ShapeDtypeStruct((*shape[:3], 1), dtype)
    name = {"tpu": "pallas_tpu", "cuda": "pallas_gpu"}[platform]

    def gradients(*arguments):
        out, pullback = jax.vjp(lambda *a: masked_moments(*a, implementation=name), *arguments)
        return out, pullback(out)

    assert count_kernels(lower(gradients, x, mask, platform=platform), platform) == 2


def test_unsupported_arguments_are_refused_with_a_reason():
    half = np.ones((1, 4, 4, 3), np.float16)
    with pytest.raises(InputError, match="take float32 and bfloat16, not float16"):
        masked_moments(half, half[..., :1], implementation="pallas_interpret")
    for name, shape, reason in (
        ("pallas_gpu", (1, 30000, 30000, 3), "64-bit indices"),
        ("pallas_tpu", (1, 8, 10000, 64), "do not fit into VMEM"),
    ):
        x, mask = (jax.ShapeDtypeStruct((*shape[:3], c), jnp.float32) for c in (shape[3], 1))
        with pytest.raises(InputError, match=reason):
            jax.eval_shape(functools.partial(masked_moments, implementation=name), x, mask)

"""The kernels of masked_adain, interpreted: goldens, float64, repeats; and lowered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops.test_masked_adain import CASES, golden, nhwc  # noqa: F401
from support import region_cases
from support.kernel_runs import INTERPRET, lowerings
from support.lowering import count_kernels, lower
from support.region_cases import MASKS, SHAPES, assert_close, assert_same_bits, draw, in_float64
from support.tiers import first_is_quick

from jaxharm.ops import masked_adain
from jaxharm.ops.masked_adain import pallas_tpu, pallas_triton

LOWERINGS = {"tpu": pallas_tpu, "cuda": pallas_triton}
EPS = 1e-5
parametrize_lowering = pytest.mark.parametrize("lowering", first_is_quick(lowerings()))


@functools.partial(jax.jit, static_argnums=0)
def run(lowering, arguments, upstream):
    """The result and the gradients."""
    module = LOWERINGS[lowering]
    out, found = module.forward(*arguments, EPS, interpret=INTERPRET)
    return out, module.backward(*arguments, found, upstream, EPS, interpret=INTERPRET)


def arrays_of(shape, kind, **options):
    content, mask, upstream = draw(shape, kind, **options)
    style, style_mask, _ = draw(shape, "soft", seed=1)
    return (content, style, mask, style_mask), upstream


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["64 channels", "odd sides", "channels in the lanes"])
@parametrize_lowering
def test_values_and_gradients_are_those_of_float64(lowering, shape):
    for kind in MASKS:
        arguments, upstream = arrays_of(SHAPES[shape], kind)
        found = run(lowering, arguments, upstream)
        want = in_float64(region_cases.adain, arguments, upstream)
        if kind == "empty":
            np.testing.assert_array_equal(found[0], arguments[0])
        # One pixel is divided by sqrt(eps) after its rounding. The reference's own error is 7e-6.
        assert_close(found, want, 2e-4 if kind == "one pixel" else 1e-5)


@pytest.mark.slow
@parametrize_lowering
def test_no_style_mask_is_one_of_ones(lowering):
    (*arguments, ones), upstream = arrays_of(SHAPES["64 channels"], "soft")
    out, gradients = run(lowering, (*arguments, None), upstream)
    assert gradients[3] is None
    ones = np.ones_like(ones)
    want_out, want = in_float64(region_cases.adain, (*arguments, ones), upstream)
    assert_close((out, gradients[:3]), (want_out, want[:3]), 4e-6)


@pytest.mark.slow
@parametrize_lowering
def test_a_large_offset_keeps_the_deviations(lowering):
    arguments, upstream = arrays_of(SHAPES["64 channels"], "hard", offset=1e3, spread=0.1)
    out, gradients = run(lowering, arguments, upstream)
    want_out, want = in_float64(region_cases.adain, arguments, upstream)
    np.testing.assert_allclose(out, want_out, atol=5e-3)  # a unit of 1e3, times the gain
    assert_close(gradients, want, 2e-3)


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
@parametrize_lowering
def test_golden_values_and_gradients(lowering, golden, case):  # noqa: F811
    names = ("comp_feat", "style_feat", f"{case}/mask")
    arguments = (*(nhwc(golden[name]) for name in names), None)
    out, gradients = run(lowering, arguments, nhwc(golden["cotangent"]))
    value, slope = (1e-3, 1e-3) if case == "tiny_soft_pixel" else (2e-5, 1e-4)
    for name, got, tolerance in zip(
        ("out", "d_comp", "d_style", "d_mask"),
        (out, *gradients[:3]),
        (value, slope, slope, slope),
        strict=True,
    ):
        want = nhwc(golden[f"{case}/{name}"])
        limit = tolerance * np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=limit, err_msg=name)


@pytest.mark.slow
@parametrize_lowering
def test_two_runs_have_the_same_bits(lowering):
    case = arrays_of(SHAPES["64 channels"], "soft")
    assert_same_bits(*(run(lowering, *case) for _ in range(2)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", first_is_quick([(1, 131, 111, 64), (16, 128, 128, 128)]))
@pytest.mark.parametrize("platform", LOWERINGS)
def test_all_kernels_lower(platform, shape, masked):
    x, mask = (jax.ShapeDtypeStruct((*shape[:3], c), jnp.bfloat16) for c in (shape[3], 1))
    name = {"tpu": "pallas_tpu", "cuda": "pallas_gpu"}[platform]

    def gradients(content, style, mask):
        def apply(*a):
            region = 1 - a[2] if masked else None
            return masked_adain(*a, style_mask=region, implementation=name)

        out, pullback = jax.vjp(apply, content, style, mask)
        return out, pullback(out)

    assert count_kernels(lower(gradients, x, x, mask, platform=platform), platform) == 6

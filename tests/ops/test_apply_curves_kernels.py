"""The kernels of apply_curves, interpreted: NumPy float64, edges of blocks, repeats; and lowered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops.test_apply_curves import define, draw, only
from support.kernel_runs import INTERPRET, lowerings
from support.lowering import count_kernels, lower

from jaxharm.errors import InputError
from jaxharm.ops import apply_curves
from jaxharm.ops.apply_curves import pallas_tpu, pallas_triton, reference

NAMES = ("image", "curves", "mask", "shading", "background")
LOWERINGS = {"tpu": pallas_tpu, "cuda": pallas_triton}
# (batch, height, width), knots, what is given. The block of a TPU backward is 64x512 pixels and
# that of a GPU 256: each case but the first ends inside a block, and most need several.
CASES = {
    "whole tiles": ((1, 16, 128), 4, "render"),
    "odd sides": ((1, 131, 111), 32, "render"),
    "wide": ((2, 5, 700), 5, "blend"),
    "two knots": ((2, 11, 13), 2, "curves"),
    "many knots": ((1, 3, 40), 100, "curves"),
    "one pixel": ((1, 1, 1), 32, "render"),
}
parametrize_lowering = pytest.mark.parametrize("lowering", lowerings())


def listed(arrays):
    return [arrays.get(name) for name in NAMES]


def run(lowering, arrays, upstream):
    """The result and the gradients by name."""
    module = LOWERINGS[lowering]

    @jax.jit
    def both(arguments, upstream):
        return (
            module.forward(*arguments, interpret=INTERPRET),
            module.backward(tuple(arguments), upstream, interpret=INTERPRET),
        )

    out, gradients = both(listed(arrays), upstream)
    found = dict(zip(NAMES, gradients, strict=True))
    assert {name for name, value in found.items() if value is not None} == set(arrays)
    return out, {name: found[name] for name in arrays}


def define_gradients(upstream, image, curves, mask=None, shading=None, background=None):
    """The derivatives of `define`, in float64, with a hat function per knot."""
    g, x, knots = np.float64(upstream), np.float64(image), curves.shape[-1]
    t = np.clip(knots * x - 0.5, 0, knots - 1)
    hats = np.maximum(0, 1 - np.abs(t[..., None] - np.arange(knots)))
    curved = np.einsum("bhwck,bck->bhwc", hats, np.float64(curves))
    gradients = {}
    if mask is not None:
        m, bg = np.float64(mask), np.float64(background)
        inner, through = g, (1 - m) * g
        d_mask = 0
        if shading is not None:
            s, blended = np.float64(shading), curved * m + (1 - m) * bg
            inner = g * s * m
            through = (1 - m) * (inner + g)
            d_mask = g * (blended * s - bg)
            gradients["shading"] = (g * m * blended).sum(-1, keepdims=True)
        gradients["mask"] = (d_mask + inner * (curved - bg)).sum(-1, keepdims=True)
        gradients["background"] = through
        g = inner * m
    interval = np.clip(np.floor(t), 0, knots - 2).astype(int)
    rise = np.diff(np.float64(curves))
    index = tuple(np.ogrid[tuple(slice(n) for n in x.shape)])
    slope = knots * rise[index[0], index[3], interval] * ((t > 0) & (t < knots - 1))
    gradients["image"] = g * slope
    gradients["curves"] = np.einsum("bhwck,bhwc->bck", hats, g)
    return gradients


def upstream_of(arrays, seed=5):
    shape = arrays["image"].shape
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.slow
@parametrize_lowering
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_float64(lowering, case):
    shape, knots, kind = CASES[case]
    arrays = only(draw(shape, knots, seed=3), kind)
    # At a distance from the knots: float32 may put a pixel into the neighboring interval.
    position = knots * arrays["image"] - 0.5
    near = np.abs(position - np.round(position)) < 0.01
    arrays["image"] = np.where(near, arrays["image"] + 0.1 / knots, arrays["image"])
    upstream = upstream_of(arrays)
    out, gradients = run(lowering, arrays, upstream)
    # Positions are rounded to half a unit of their last place, and slopes are up to `knots`.
    np.testing.assert_allclose(out, define(**arrays), atol=1e-6 + knots * 2**-24)
    want = define_gradients(upstream, **arrays)
    for name, value in gradients.items():
        scale = np.abs(want[name]).max() + 1e-6
        np.testing.assert_allclose(
            value / scale, want[name] / scale, atol=3e-6 + knots * 2**-23, err_msg=name
        )


@pytest.mark.slow
@parametrize_lowering
@pytest.mark.parametrize("value", ["empty", "full", "one pixel"])
def test_extreme_masks_equal_the_reference(lowering, value):
    arrays = draw((1, 11, 13), 8)
    arrays["mask"] = np.full_like(arrays["mask"], float(value == "full"))
    arrays["mask"][0, 10, 12] = value != "empty"
    upstream = upstream_of(arrays)
    out, gradients = run(lowering, arrays, upstream)
    np.testing.assert_allclose(out, reference.forward(*map(jnp.asarray, listed(arrays))), atol=2e-6)
    want = reference.backward(tuple(map(jnp.asarray, listed(arrays))), upstream)
    for name, expected in zip(NAMES, want, strict=True):
        np.testing.assert_allclose(gradients[name], expected, atol=1e-5, err_msg=name)


@pytest.mark.slow
@parametrize_lowering
def test_bfloat16_is_read_and_written_and_summed_in_float32(lowering):
    arrays = {k: jnp.asarray(v, jnp.bfloat16) for k, v in draw((1, 24, 130), 8).items()}
    upstream = jnp.asarray(upstream_of(arrays), jnp.bfloat16)
    out, gradients = run(lowering, arrays, upstream)
    exact = {k: np.asarray(v, np.float32) for k, v in arrays.items()}
    want_out = reference.forward(*map(jnp.asarray, listed(exact)))
    want = reference.backward(tuple(map(jnp.asarray, listed(exact))), upstream.astype(jnp.float32))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), want_out, rtol=2**-8, atol=1e-6)
    for name, expected in zip(NAMES, want, strict=True):
        assert gradients[name].dtype == jnp.bfloat16, name
        np.testing.assert_allclose(
            gradients[name].astype(jnp.float32), expected, rtol=2**-8, atol=1e-5, err_msg=name
        )


@pytest.mark.slow
@parametrize_lowering
def test_slope_on_knots_flat_ends_and_nan(lowering):
    curves = np.random.default_rng(3).random((1, 3, 32), np.float32)
    values = np.float32([-1, 0, 0.5 / 32, 1.5 / 32, 30.5 / 32, 31.5 / 32, 1, 2, np.nan])
    image = np.broadcast_to(values[None, None, :, None], (1, 1, 9, 3))
    out, gradients = run(
        lowering, {"image": image, "curves": curves}, np.ones(image.shape, np.float32)
    )
    zero = np.zeros(3, np.float32)
    right = 32 * np.diff(curves[0])
    np.testing.assert_allclose(
        gradients["image"][0, 0, :8],
        [zero, zero, zero, right[:, 1], right[:, 30], zero, zero, zero],
        rtol=1e-6,
    )
    assert np.isnan(out[0, 0, 8]).all()
    assert np.isfinite(out[0, 0, :8]).all()


@pytest.mark.slow
@parametrize_lowering
def test_curve_gradient_of_a_flat_image_keeps_its_precision(lowering):
    arrays = {
        "image": np.full((1, 256, 256, 3), 0.3, np.float32),
        "curves": np.zeros((1, 3, 4), np.float32),
    }
    _, gradients = run(lowering, arrays, np.full((1, 256, 256, 3), 0.1, np.float32))
    np.testing.assert_allclose(gradients["curves"].sum((0, 2)), 0.1 * 256 * 256, rtol=1e-6)


@pytest.mark.slow
@parametrize_lowering
def test_two_backward_runs_have_the_same_bits(lowering):
    arrays = draw((2, 70, 30), 8)
    first, second = (run(lowering, arrays, upstream_of(arrays))[1] for _ in range(2))
    for name in arrays:
        assert np.asarray(first[name]).tobytes() == np.asarray(second[name]).tobytes(), name


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("shape", "knots", "kind"),
    [
        ((8, 2160, 3840), 32, "render"),
        ((1, 131, 111), 32, "blend"),
        ((16, 256, 256), 100, "curves"),
    ],
)
@pytest.mark.parametrize("platform", LOWERINGS)
def test_both_kernels_lower(platform, shape, knots, kind, dtype):
    shapes = {
        k: (*shape[:1], 3, knots) if k == "curves" else (*shape, v.shape[-1])
        for k, v in draw((1, 1, 1)).items()
    }
    arrays = {k: jax.ShapeDtypeStruct(v, dtype) for k, v in only(shapes, kind).items()}
    name = {"tpu": "pallas_tpu", "cuda": "pallas_gpu"}[platform]

    def both(arrays, upstream):
        out, pullback = jax.vjp(lambda a: apply_curves(**a, implementation=name), arrays)
        return out, pullback(upstream)

    text = lower(both, arrays, arrays["image"], platform=platform)
    assert count_kernels(text, platform) == 2


def test_unsupported_arguments_are_refused_with_a_reason():
    arrays = only(draw(), "curves")
    half = {k: v.astype(np.float16) for k, v in arrays.items()}
    with pytest.raises(InputError, match="take float32 and bfloat16, not float16"):
        apply_curves(**half, implementation="pallas_interpret")
    huge = {
        "image": jax.ShapeDtypeStruct((1, 30000, 30000, 3), jnp.float32),
        "curves": jax.ShapeDtypeStruct((1, 3, 32), jnp.float32),
    }
    with pytest.raises(InputError, match="64-bit indices"):
        jax.eval_shape(functools.partial(apply_curves, implementation="pallas_gpu"), **huge)

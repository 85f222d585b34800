"""Masked AdaIN: goldens with gradients, definition, degenerate masks, bad arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.goldens import load_golden

from jaxharm.errors import InputError
from jaxharm.ops import masked_adain

RNG = np.random.default_rng(5)
CASES = ["binary", "soft", "empty", "full", "single_pixel", "tiny_soft_pixel"]


def nhwc(value):
    return jnp.asarray(np.moveaxis(value, 1, -1))


@jax.jit
def value_and_gradients(content, style, mask, cotangent):
    out, pullback = jax.vjp(masked_adain, content, style, mask)
    return out, *pullback(cotangent)


@pytest.fixture(scope="module")
def golden():
    return load_golden("masked_adain")


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_golden_values_and_gradients(golden, case):
    arrays = [golden["comp_feat"], golden["style_feat"], golden[f"{case}/mask"]]
    results = value_and_gradients(*map(nhwc, arrays), nhwc(golden["cotangent"]))
    value, slope = (1e-3, 1e-3) if case == "tiny_soft_pixel" else (2e-5, 1e-4)
    for name, got, tolerance in zip(
        ("out", "d_comp", "d_style", "d_mask"), results, (value, slope, slope, slope), strict=True
    ):
        want = nhwc(golden[f"{case}/{name}"])
        limit = tolerance * np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=limit, err_msg=name)


def numpy_adain(content, style, mask, style_mask, eps=1e-5):
    def moments(x, m):
        n = m.sum((1, 2), keepdims=True) + eps
        mean = (x * m).sum((1, 2), keepdims=True) / n
        return mean, np.sqrt((((x - mean) * m) ** 2).sum((1, 2), keepdims=True) / n + eps)

    (mean, std), (style_mean, style_std) = moments(content, mask), moments(style, style_mask)
    restyled = (content - mean) / std * style_std + style_mean
    return mask * restyled + (1 - mask) * content


def random_case():
    content, style = RNG.normal(2, 1, (2, 2, 7, 9, 3))
    return content, style, RNG.random((2, 7, 9, 1)), RNG.random((2, 7, 9, 1))


@pytest.mark.parametrize("given", [True, False])
def test_matches_the_definition_with_and_without_a_style_mask(given):
    content, style, mask, style_mask = random_case()
    arrays = [jnp.float32(a) for a in (content, style, mask, style_mask)]
    got = masked_adain(*arrays[:3], style_mask=arrays[3] if given else None)
    want = numpy_adain(content, style, mask, style_mask if given else np.ones_like(mask))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_gradients_are_the_slopes():
    arrays = random_case()
    weights = RNG.normal(size=arrays[0].shape)

    def value(content, style, mask, style_mask):
        return (masked_adain(content, style, mask, style_mask=style_mask) * weights).sum()

    grads = jax.jit(jax.grad(value, (0, 1, 2, 3)))(*map(jnp.float32, arrays))
    for index, grad in enumerate(grads):
        step = RNG.normal(size=grad.shape)
        moved = [
            (numpy_adain(*[a + s * step * (i == index) for i, a in enumerate(arrays)]) * weights)
            for s in (1e-5, -1e-5)
        ]
        slope = (moved[0].sum() - moved[1].sum()) / 2e-5
        assert float((np.asarray(grad) * step).sum()) == pytest.approx(slope, rel=1e-4)


def test_degenerate_masks_are_defined_and_have_finite_gradients():
    content, style, _, _ = random_case()
    content, style = jnp.float32(content), jnp.float32(style)
    pixel = np.zeros((2, 7, 9, 1), np.float32)
    pixel[:, 3, 4] = 1
    ones = np.ones_like(pixel)
    for mask in (0 * pixel, pixel, ones):
        out, *grads = value_and_gradients(content, style, mask, jnp.ones_like(content))
        np.testing.assert_array_equal(out[mask[..., 0] == 0], content[mask[..., 0] == 0])
        assert all(bool(jnp.isfinite(grad).all()) for grad in grads)
        if mask is pixel:
            # Up to the share of eps in the mean, which the deviation sqrt(eps) enlarges.
            np.testing.assert_allclose(out[:, 3, 4], style.mean((1, 2)), atol=0.02)
    flat = jnp.ones_like(content)
    for grad in value_and_gradients(flat, flat, ones, flat):
        assert bool(jnp.isfinite(grad).all())
    nowhere = masked_adain(content, style, ones, style_mask=0 * ones)
    assert np.abs(nowhere).max() < 0.1  # mean 0, deviation sqrt(eps)


def test_dtype_is_that_of_the_content():
    content, style, mask, _ = random_case()
    got = masked_adain(jnp.bfloat16(content), jnp.bfloat16(style), jnp.bfloat16(mask))
    assert got.dtype == jnp.bfloat16
    want = numpy_adain(content, style, mask, np.ones_like(mask))
    np.testing.assert_allclose(got.astype(jnp.float32), want, atol=0.1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"content": (5, 5, 4)}, r"content is \[5, 5, 4\], not \[b,h,w,c\]"),
        ({"style": (2, 5, 6, 4)}, r"style is .*, not \[2, 5, 5, 4\]"),
        ({"mask": (2, 5, 5, 4)}, r"mask is .*, not \[2, 5, 5, 1\]"),
        ({"style_mask": (1, 5, 5, 1)}, r"style_mask is .*, not \[2, 5, 5, 1\]"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    shapes = {"content": (2, 5, 5, 4), "style": (2, 5, 5, 4), "mask": (2, 5, 5, 1), **changed}
    arrays = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(InputError, match=message):
        masked_adain(**arrays)


def test_unknown_implementation_is_named():
    x = jnp.zeros((1, 4, 4, 2))
    with pytest.raises(InputError, match="unknown implementation='fast'"):
        masked_adain(x, x, x[..., :1], implementation="fast")

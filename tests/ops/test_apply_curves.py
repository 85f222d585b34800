"""Curves and rendering: the golden, a float64 definition, gradients, edges, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.goldens import load_golden

from jaxharm.errors import InputError
from jaxharm.ops import apply_curves as op
from jaxharm.ops.apply_curves import reference

IMPLEMENTATIONS = [None, "reference", "pallas_interpret"]

apply_curves = jax.jit(op, static_argnames="implementation")


def define(image, curves, mask=None, shading=None, background=None):
    """The formulas of the docstring in float64, with numpy's own interpolation."""
    image, curves = np.asarray(image, np.float64), np.asarray(curves, np.float64)
    knots = (np.arange(curves.shape[-1]) + 0.5) / curves.shape[-1]
    out = np.empty_like(image)
    for b in range(image.shape[0]):
        for c in range(3):
            out[b, ..., c] = np.interp(image[b, ..., c], knots, curves[b, c])
    if mask is None:
        return out
    m, bg = np.asarray(mask, np.float64), np.asarray(background, np.float64)
    out = out * m + (1 - m) * bg
    return out if shading is None else out * np.asarray(shading, np.float64) * m + (1 - m) * bg


def draw(shape=(2, 11, 13), knots=32, seed=0):
    b, h, w = shape
    rng = np.random.default_rng(seed)
    return {
        "image": (1.2 * rng.random((b, h, w, 3)) - 0.1).astype(np.float32),
        "curves": rng.random((b, 3, knots), np.float32),
        "mask": rng.random((b, h, w, 1), np.float32),
        "shading": (0.5 + 0.5 * rng.random((b, h, w, 1))).astype(np.float32),
        "background": rng.random((b, h, w, 3), np.float32),
    }


def only(arrays, kind):
    names = {
        "curves": ("image", "curves"),
        "blend": ("image", "curves", "mask", "background"),
        "render": tuple(arrays),
    }[kind]
    return {name: arrays[name] for name in names}


@pytest.mark.golden
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_golden(implementation):
    golden = load_golden("curves")
    image, curves = golden["image"], golden["control"]

    def objective(image, curves):
        out = apply_curves(image, curves, implementation=implementation)
        return jnp.sum(out * golden["upstream"]), out

    gradient = jax.jit(jax.grad(objective, (0, 1), has_aux=True))
    (d_image, d_curves), out = gradient(image, curves)
    # 10x the float32-vs-float64 differences of the manifest, never below rtol 1e-4 / atol 1e-5.
    np.testing.assert_allclose(out, golden["out"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(d_curves, golden["grad_control"], rtol=1e-4, atol=5.3e-5)
    for name in ("grad_image", "grad_image_f64"):
        np.testing.assert_allclose(d_image, golden[name], rtol=1e-4, atol=1.4e-4, err_msg=name)


@pytest.mark.parametrize("kind", ["curves", "blend", "render"])
@pytest.mark.parametrize("knots", [2, 32, 100])
def test_equals_the_definition(kind, knots):
    arrays = only(draw(knots=knots), kind)
    out = apply_curves(**arrays)
    assert out.dtype == jnp.float32
    # k*x - 0.5 is rounded to half a unit of its last place, and the slopes are up to 1.
    np.testing.assert_allclose(out, define(**arrays), atol=1e-6 + knots * 2**-24)


@pytest.mark.parametrize("kind", ["curves", "blend", "render"])
def test_gradients_equal_finite_differences(kind):
    arrays = only(draw((2, 5, 6), knots=8, seed=1), kind)
    # Pixels keep a distance from the knots, where the derivative does not exist.
    position = np.clip(8 * arrays["image"] - 0.5, -1, 8)
    near = np.abs(position - np.round(position)) < 0.05
    arrays["image"] = np.where(near, arrays["image"] + 0.1 / 8, arrays["image"]).astype(np.float32)
    rng = np.random.default_rng(2)
    upstream = rng.standard_normal(arrays["image"].shape)

    def objective(arrays):
        return jnp.sum(apply_curves(**arrays) * upstream.astype(np.float32))

    gradients = jax.jit(jax.grad(objective))(arrays)
    assert set(gradients) == set(arrays)
    for name, value in arrays.items():
        direction = rng.standard_normal(value.shape)
        step = 1e-3
        plus, minus = (
            np.sum(define(**{**arrays, name: value + sign * step * direction}) * upstream)
            for sign in (1, -1)
        )
        expected = (plus - minus) / (2 * step)
        scale = np.sqrt(np.sum((np.asarray(gradients[name]) * direction) ** 2))
        assert abs(np.sum(gradients[name] * direction) - expected) < 1e-3 * scale, name


def test_slope_on_knots_and_flat_ends():
    curves = jnp.asarray(np.random.default_rng(3).random((1, 3, 32), np.float32))
    values = jnp.asarray([-1.0, 0.0, 0.5 / 32, 1.5 / 32, 30.5 / 32, 31.5 / 32, 1.0, 2.0])
    image = jnp.broadcast_to(values[None, None, :, None], (1, 1, 8, 3))
    slope = jax.grad(lambda x: apply_curves(x, curves).sum())(image)[0, 0]
    right = 32 * (curves[0, :, 1:] - curves[0, :, :-1])
    zero = jnp.zeros(3)
    expected = jnp.stack([zero, zero, zero, right[:, 1], right[:, 30], zero, zero, zero])
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_identity_curves_between_the_outer_knots():
    image = jnp.asarray(
        np.random.default_rng(4).uniform(1 / 64, 63 / 64, (1, 9, 7, 3)), jnp.float32
    )
    curves = jnp.broadcast_to((jnp.arange(32) + 0.5) / 32, (1, 3, 32))
    np.testing.assert_allclose(apply_curves(image, curves), image, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_mask(value):
    arrays = draw()
    arrays["mask"] = np.full_like(arrays["mask"], value)
    expected = arrays["background"] if value == 0 else define(**arrays)
    np.testing.assert_allclose(apply_curves(**arrays), expected, atol=2e-6)


def test_bfloat16_keeps_its_dtype_and_gradients_theirs():
    arrays = {k: jnp.asarray(v) for k, v in draw().items()}
    arrays["image"] = arrays["image"].astype(jnp.bfloat16)
    exact = define(**{k: np.asarray(v, np.float32) for k, v in arrays.items()})
    out = apply_curves(**arrays)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=4e-3)
    gradients = jax.grad(lambda a: apply_curves(**a).astype(jnp.float32).sum())(arrays)
    assert gradients["image"].dtype == jnp.bfloat16
    assert gradients["curves"].dtype == jnp.float32


def test_vmap_equals_a_batch():
    arrays = draw()
    single = {name: value[:, None] for name, value in arrays.items()}
    out = jax.vmap(lambda a: apply_curves(**a))(single)[:, 0]
    np.testing.assert_allclose(out, apply_curves(**arrays), atol=1e-6)


def test_curve_gradient_of_a_flat_image_keeps_its_precision():
    """All pixels fall into one bin; a plain running float32 sum would lose digits."""
    image = jnp.full((1, 512, 256, 3), 0.3, jnp.float32)
    curves = jnp.zeros((1, 3, 32), jnp.float32)
    gradient = jax.jit(jax.grad(lambda c: 0.1 * apply_curves(image, c).sum()))(curves)
    np.testing.assert_allclose(gradient.sum((0, 2)), 0.1 * 512 * 256, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((11, 13, 3), np.float32)}, r"image is \[11, 13, 3\]"),
        ({"curves": np.zeros((2, 3, 1), np.float32)}, "k of at least 2"),
        ({"curves": np.zeros((1, 3, 32), np.float32)}, r"not \[2,3,k\]"),
        ({"mask": np.zeros((2, 11, 13, 3), np.float32)}, r"mask is .* not \[2, 11, 13, 1\]"),
        ({"background": None}, "mask and background together"),
        ({"mask": None}, "mask and background together"),
        ({"mask": None, "background": None}, "shading needs mask"),
        ({"implementation": "fast"}, "unknown implementation='fast'"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        apply_curves(**{**draw(), **change})


def test_nan_pixel_stays_where_it_is():
    arrays = draw()
    expected = np.asarray(apply_curves(**arrays))
    arrays["image"][0, 3, 4, 1] = np.nan
    out = np.asarray(apply_curves(**arrays))
    assert np.isnan(out[0, 3, 4, 1])
    np.testing.assert_array_equal(
        np.delete(out.ravel(), np.argmax(np.isnan(out))),
        np.delete(expected.ravel(), np.argmax(np.isnan(out))),
    )


def test_kernel_of_another_platform_is_refused():
    with pytest.raises(InputError, match=r"apply_curves cannot run by 'pallas_tpu': .* on cpu"):
        op(**draw(), implementation="pallas_tpu")


@pytest.mark.parametrize("knots", [2, 32])
def test_all_sums_over_the_pixels_of_a_knot_agree(knots):
    rng = np.random.default_rng(0)
    shape = (2, 9, 14, 3)
    g, weight = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(2))
    interval = jnp.asarray(rng.integers(0, knots - 1, shape), jnp.int32)
    expected, *others = (
        jax.jit(form, static_argnames="knots")(g, interval, weight, knots=knots)
        for form in (reference.bin_by_scatter, reference.bin_by_sums, reference.bin_by_knots)
    )
    for found in others:
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("knots", [2, 3, 32])
def test_selected_values_are_those_gathered(knots):
    rng = np.random.default_rng(0)
    curves = jnp.asarray(rng.normal(size=(2, 3, knots)), jnp.float32)
    interval = jnp.asarray(rng.integers(0, knots - 1, (2, 9, 14, 3)), jnp.int32)
    gathered = reference.neighbors_by_gathers(curves, interval)
    selected = reference.neighbors_by_selection(curves, interval)
    for one, other in zip(gathered, selected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_tpu_gathers_and_scatters_nothing():
    arrays = only(draw(), "render")
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(op(**a))))
    text = gradient.trace(arrays).lower(lowering_platforms=("tpu",)).as_text()
    assert "gather" not in text
    assert "scatter" not in text


def test_chips_get_no_scatter_whose_order_is_open():
    arrays = only(draw(), "render")
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(op(**a))))
    lowered = {
        platform: gradient.trace(arrays).lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "cuda", "tpu")
    }
    assert [name for name, text in lowered.items() if "scatter" in text] == ["cpu"]

"""Pixel and gradient losses: goldens, degenerate inputs, the same value over several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from support.goldens import load_golden

from jaxharm import metrics
from jaxharm.losses.pixel import (
    foreground_normalized_error,
    masked_absolute_error,
    squared_error,
)
from jaxharm.losses.reduction import reduce_ratio
from jaxharm.papers.phnet.losses import gradient_difference, gray_world_error, psnr_loss


def mean(ratio):
    return ratio[0] / ratio[1]


# name -> the loss of (prediction, target, mask), as a mean over the batch where it is one.
LOSSES = {
    "psnr": lambda p, t, m, axis=None: psnr_loss(mean(reduce_ratio(squared_error(p, t), axis))),
    "l2": lambda p, t, m, axis=None: mean(reduce_ratio(squared_error(p, t), axis)),
    "l1": lambda p, t, m, axis=None: mean(reduce_ratio(masked_absolute_error(p, t, m), axis)),
    "fnmse": lambda p, t, m, axis=None: mean(
        reduce_ratio(foreground_normalized_error(p, t, m), axis)
    ),
    "gradient": lambda p, t, m, axis=None: mean(reduce_ratio(gradient_difference(p, t, m), axis)),
    "color": lambda p, t, m, axis=None: reduce_ratio(gray_world_error(p), axis)[0],
}


@pytest.fixture(scope="module")
def arrays():
    return load_golden("losses")


def golden_images(arrays):
    return tuple(jnp.asarray(np.moveaxis(arrays[n], 1, -1)) for n in ("pred", "real", "mask"))


@pytest.mark.golden
@pytest.mark.parametrize("name", LOSSES)
def test_golden_value_and_gradient(arrays, name):
    value, grad = jax.jit(jax.value_and_grad(LOSSES[name]))(*golden_images(arrays))
    assert float(value) == pytest.approx(float(arrays[f"loss_{name}"]), rel=1e-5)
    expected = np.moveaxis(arrays[f"grad_{name}"], 1, -1)
    assert np.linalg.norm(grad - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.golden
def test_golden_terms_per_image(arrays):
    prediction, target, mask = golden_images(arrays)
    for i in range(3):
        one = slice(i, i + 1)
        fnmse = foreground_normalized_error(prediction[one], target[one], mask[one])
        assert float(mean(fnmse)) == pytest.approx(arrays["fnmse_per_sample"][i], rel=1e-5)
        color = gray_world_error(prediction[one])[0]
        assert float(color) == pytest.approx(arrays["color_per_sample"][i], rel=1e-5)


@pytest.mark.golden
def test_golden_metrics_with_a_real_image_below_full_range(arrays):
    images = [value[:2] for value in golden_images(arrays)]
    for name in ("mse", "fmse", "psnr", "fpsnr", "ssim"):
        values = getattr(metrics, name)(*images, protocol="phnet_256")
        want = [float(arrays[f"metric_{name}_{i}"]) for i in range(2)]
        limits = {"abs": 1e-4} if name == "ssim" else {"rel": 1e-4}
        assert [float(v) for v in values] == pytest.approx(want, **limits), name


@pytest.mark.dist
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_the_same_on_four_devices(name):
    rng = np.random.default_rng(2)
    prediction, target = jnp.asarray(rng.random((2, 4, 6, 5, 3)), jnp.float32)
    mask = jnp.zeros((4, 6, 5, 1)).at[0].set(1).at[2, :3].set(1)  # unequal, some empty
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=jax.devices()[:4])

    def per_device(scale, *images):
        def loss(scale):
            return LOSSES[name](images[0] * scale, *images[1:], "data")

        value, grad = jax.value_and_grad(loss)(scale)
        return value, jax.lax.pmean(grad, "data")

    sharded = jax.shard_map(
        per_device, mesh=mesh, in_specs=(P(), *[P("data")] * 3), out_specs=P(), check_vma=False
    )
    got = jax.jit(sharded)(jnp.float32(0.9), prediction, target, mask)
    want = jax.jit(jax.value_and_grad(lambda s: LOSSES[name](prediction * s, target, mask)))(
        jnp.float32(0.9)
    )
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-7)


def test_perfect_and_gray_predictions_have_finite_gradients():
    gray = jnp.full((2, 4, 4, 3), 0.5)
    mask = jnp.zeros((2, 4, 4, 1))
    for name, loss in LOSSES.items():
        value, grad = jax.jit(jax.value_and_grad(loss))(gray, gray, mask)
        assert bool(jnp.isfinite(value)), name
        assert bool((grad == 0).all()), name


def test_small_foregrounds_count_as_the_minimum_area():
    prediction, target = jnp.ones((1, 20, 20, 3)), jnp.zeros((1, 20, 20, 3))
    for pixels, area in ((0, 100), (12, 100), (160, 160)):
        mask = jnp.zeros((1, 400, 1)).at[:, :pixels].set(1).reshape(1, 20, 20, 1)
        ratio = foreground_normalized_error(prediction, target, mask)
        assert float(mean(ratio)) == pytest.approx(400 / area)

"""Identities that hold for every image, whatever the numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm import metrics
from jaxharm.errors import InputError

_rng = np.random.default_rng(0)


def _images(batch=3, height=20, width=24):
    target = _rng.uniform(0.2, 0.8, (batch, height, width, 3)).astype(np.float32)
    noise = _rng.normal(0, 0.05, target.shape).astype(np.float32)
    mask = np.zeros((batch, height, width, 1), np.float32)
    mask[:, 4:14, 5:17] = 1
    return target + noise, target, mask


@pytest.mark.parametrize("protocol", ["default_256", "cdtnet_256"])
def test_a_batch_equals_its_images_one_by_one(protocol):
    images = _images()
    whole = metrics.measure(*images, protocol=protocol)
    for i in range(3):
        single = metrics.measure(*(x[i : i + 1] for x in images), protocol=protocol)
        for name in metrics.METRICS:
            np.testing.assert_allclose(whole[name][i], single[name][0], rtol=1e-12, err_msg=name)


def test_float32_jit_and_float64_agree():
    images = _images()
    exact = metrics.measure(*images)
    arrays = [jnp.asarray(x) for x in images]
    eager = metrics.measure(*arrays)
    compiled = jax.jit(metrics.measure)(*arrays)
    for name in metrics.METRICS:
        assert exact[name].dtype == np.float64
        assert eager[name].dtype == jnp.float32
        np.testing.assert_allclose(eager[name], exact[name], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(compiled[name], eager[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", ["mse", "fmse", "psnr", "fpsnr", "ssim", "fssim"])
def test_public_functions_return_float32_of_measure(name):
    images = _images()
    values = getattr(metrics, name)(*images, protocol="default_native")
    assert values.shape == (3,)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, metrics.measure(*images)[name], rtol=1e-6)


def test_fmse_equals_mse_under_a_full_mask_and_scales_with_an_exact_background():
    prediction, target, mask = _images()
    full = np.ones_like(mask)
    np.testing.assert_allclose(
        metrics.fmse(prediction, target, full), metrics.mse(prediction, target, full), rtol=1e-6
    )
    pasted = np.where(mask > 0.5, prediction, target)
    share = mask.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(
        metrics.mse(pasted, target, mask), share * metrics.fmse(pasted, target, mask), rtol=1e-6
    )


def test_psnr_falls_by_20_log10_of_the_error_factor():
    _, target, mask = _images()
    error = _rng.normal(0, 0.01, target.shape)
    first = metrics.psnr(target + error, target.astype(np.float64), mask)
    second = metrics.psnr(target + 4 * error, target.astype(np.float64), mask)
    np.testing.assert_allclose(first - second, 20 * np.log10(4), rtol=1e-6)


def test_prediction_is_clipped_and_quantized_by_the_protocol():
    _, target, mask = _images()
    high = np.full_like(target, 1.5)
    np.testing.assert_array_equal(
        metrics.mse(high, target, mask), metrics.mse(np.ones_like(target), target, mask)
    )
    unclipped = metrics.mse(high, target, mask, protocol="phnet_256")
    assert (unclipped > metrics.mse(high, target, mask)).all()
    real = np.full_like(target, 100 / 255)
    base = metrics.get_protocol("default_256")
    for rule, error in (("none", 0.7), ("round", 1.0), ("truncate", 0.0)):
        protocol = metrics.Protocol(**{**vars(base), "name": rule, "quantize": rule})
        value = metrics.mse(real + np.float32(0.7 / 255), real, mask, protocol=protocol)
        np.testing.assert_allclose(value, error**2, atol=1e-4, err_msg=rule)


def test_se_mae_and_hdnet_area_rule():
    prediction, target, mask = _images()
    difference = 255.0 * (np.clip(prediction, 0, 1).astype(np.float64) - target)
    np.testing.assert_allclose(
        metrics.se(prediction, target, mask), (difference**2 * mask).sum((1, 2, 3)) / 1e6, rtol=1e-6
    )
    np.testing.assert_allclose(
        metrics.mae(prediction, target, mask), abs(difference).mean((1, 2, 3)), rtol=1e-6
    )
    np.testing.assert_allclose(
        metrics.fmse(prediction, target, mask, protocol="hdnet_256"),
        (difference**2).mean((1, 2, 3)) / mask.mean((1, 2, 3)),
        rtol=1e-6,
    )


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_shape_mismatch_is_refused(convert):
    prediction, target, mask = (convert(x) for x in _images())
    with pytest.raises(ValueError, match="target"):
        metrics.mse(prediction, target[:, 1:], mask)
    with pytest.raises(ValueError, match="mask must be"):
        metrics.fmse(prediction, target, mask[..., 0])
    with pytest.raises(ValueError, match="at least 11 pixels"):
        metrics.ssim(prediction[:, :8], target[:, :8], mask[:, :8])


def test_unknown_protocol_names_the_closest():
    with pytest.raises(InputError, match="issam_256"):
        metrics.mse(*_images(), protocol="isam_256")


def test_dovenet_defines_no_foreground_metric():
    values = metrics.measure(*_images(), protocol="dovenet_test_256")
    assert np.isnan(values["fmse"]).all()
    assert np.isfinite(values["mse"]).all()
    assert np.isnan(values["fpsnr"]).all()


def test_soft_mask_under_jit_is_marked_where_the_protocol_refuses_it():
    prediction, target, mask = (jnp.asarray(x) for x in _images())
    value = jax.jit(lambda m: metrics.fmse(prediction, target, m, protocol="phnet_256"))(0.7 * mask)
    assert np.isnan(value).all()

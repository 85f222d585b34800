"""The small model: its statistics against NumPy, what it leaves alone, and the price of harm."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.system_cases import tiny_config

import jaxharm
from jaxharm.interfaces import Extras, Output, StepContext
from jaxharm.papers.pih.small_system import PIHSmallObjective
from jaxharm.papers.pih.wide_statistics import COUNT, PER_REGION, QUANTILES, RING, wide_statistics
from jaxharm.registry import make_system
from jaxharm.schema import Batch


def one(side=40, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros((1, side, side, 1), np.float32)
    mask[:, 12:25, 10:30] = 1
    return rng.random((1, side, side, 3), np.float32), mask


def test_numbers_of_a_region_are_those_of_numpy():
    image, mask = one()
    got = np.asarray(jax.jit(wide_statistics)(image, mask))[0]
    assert got.shape == (COUNT,)
    inside = mask[0, ..., 0] > 0
    ring = np.zeros_like(inside)
    ring[12 - RING : 25 + RING, 10 - RING : 30 + RING] = True
    for number, region in enumerate((inside, ~inside, ring & ~inside)):
        pixels = image[0][region].astype(np.float64)
        part = got[number * PER_REGION : (number + 1) * PER_REGION]
        np.testing.assert_allclose(part[:3], pixels.mean(0), atol=1e-5)
        np.testing.assert_allclose(part[6:9], pixels.std(0), atol=1e-4)
        correlations = np.corrcoef(pixels.T)[[0, 0, 1], [1, 2, 2]]
        np.testing.assert_allclose(part[12:15], correlations, atol=1e-3)
        quantiles = np.quantile(pixels, QUANTILES, axis=0, method="nearest")
        np.testing.assert_allclose(part[15:57].reshape(7, 6)[:, :3], quantiles, atol=5e-3)
        np.testing.assert_allclose(part[57], (pixels.max(1) - pixels.min(1)).mean(), atol=1e-5)
    np.testing.assert_allclose(got[-1], mask.mean(), atol=1e-6)


def test_lab_is_that_of_known_colors():
    gray, red = np.full((1, 8, 8, 3), 0.5, np.float32), np.zeros((1, 8, 8, 3), np.float32)
    red[..., 0] = 1
    for image, lab in ((gray, (53.39, 0, 0)), (red, (53.24, 80.09, 67.20))):
        got = np.asarray(wide_statistics(image, np.ones((1, 8, 8, 1), np.float32)))[0]
        np.testing.assert_allclose(got[3:6] * 100, lab, atol=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_region_gives_finite_numbers(value):
    image, mask = one()
    assert np.isfinite(np.asarray(wide_statistics(image, np.full_like(mask, value)))).all()


def test_an_untrained_model_changes_nothing():
    image, mask = one()
    model = jaxharm.create_model("pih_small")
    variables = jax.jit(model.init)(jax.random.key(0), image, mask)
    output = jax.jit(model.apply)(variables, image, mask)
    np.testing.assert_allclose(output.image, image, atol=0.5 / 255)
    assert output.aux["curves"].shape == (1, 3, 256)
    assert np.all(np.asarray(output.image)[mask[..., 0] == 0] == image[mask[..., 0] == 0])


def test_making_an_image_worse_costs_more_than_its_squared_error():
    target, mask = one()
    target = 0.5 * target + 0.25  # nothing is clipped below
    objective = PIHSmallObjective(harm_weight=4.0, unharmed=50.0)
    config = dataclasses.replace(tiny_config("pih_small"), objective=objective)
    system = make_system(config, total_steps=1)
    ctx = StepContext(jnp.int32(0), 1, jax.random.key(0), None)
    batch = Batch(composite=target + 0.04 * mask, mask=mask, target=target)

    def loss(offset):
        """Total, fMSE and harm of an object that is `offset` away from the target."""
        output = Output(target + np.float32(offset) * mask, {})
        total, terms = system.loss(ctx, output, batch, Extras(None, None))
        return [float(total), *(float(a / b) for a, b in terms.values())]

    def squared(offset):
        return (255 * offset) ** 2

    np.testing.assert_allclose(loss(0), 0, atol=1e-6)
    for offset in (0.01, 0.04):  # better, and as it was
        np.testing.assert_allclose(
            loss(offset), [squared(offset) / 1000, squared(offset), 0], rtol=1e-3, atol=1e-5
        )
    harm = (squared(0.05) - squared(0.04)) / (squared(0.04) + 50)
    np.testing.assert_allclose(
        loss(0.05), [squared(0.05) / 1000 + 4 * harm, squared(0.05), harm], rtol=1e-3
    )
    np.testing.assert_allclose(loss(0.2)[2], 1)  # the worst that counts

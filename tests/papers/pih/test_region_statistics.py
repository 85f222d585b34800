"""Color statistics of the two regions, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.papers.pih.region_statistics import StatisticsNet, region_statistics

QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]


def one(side=40, share=0.3, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random((1, side, side, 3), np.float32)
    return image, (rng.random((1, side, side, 1)) < share).astype(np.float32)


def test_values_are_those_of_numpy():
    image, mask = one()
    got = np.asarray(jax.jit(region_statistics)(image, mask))[0]
    expected = []
    for region in (mask[0, ..., 0] > 0, mask[0, ..., 0] == 0):
        pixels = image[0][region]
        quantiles = np.quantile(pixels, QUANTILES, axis=0, method="nearest")
        chroma = (pixels.max(1) - pixels.min(1)).mean()
        expected += [*pixels.mean(0), *pixels.std(0), *quantiles.ravel(), chroma]
    expected.append(mask.mean())
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_background_does_not_change_the_foregrounds_numbers():
    image, mask = one()
    changed = np.where(mask > 0, image, 1 - image)
    before, after = (np.asarray(region_statistics(x, mask)) for x in (image, changed))
    np.testing.assert_allclose(before[:, :22], after[:, :22], atol=1e-6)
    assert np.abs(before[:, 22:] - after[:, 22:]).max() > 0.01


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_region_gives_finite_numbers(value):
    image, mask = one()
    statistics = np.asarray(region_statistics(image, np.full_like(mask, value)))
    assert np.isfinite(statistics).all()
    empty = statistics[0, :22] if value == 0 else statistics[0, 22:44]
    assert np.abs(empty).max() < 0.01


def test_large_images_are_averaged_down():
    image, mask = one(32)
    large = [np.repeat(np.repeat(x, 4, 1), 4, 2) for x in (image, mask)]
    small, big = (np.asarray(region_statistics(*pair)) for pair in ((image, mask), large))
    np.testing.assert_allclose(small[:, :3], big[:, :3], atol=0.02)
    assert small.shape == big.shape == (1, 45)


def test_no_gradient_passes():
    image, mask = one(16)
    gradient = jax.grad(lambda x: jnp.sum(region_statistics(x, mask)))(image)
    assert np.abs(gradient).max() == 0


def test_net_starts_at_zero_and_learns():
    net, statistics = StatisticsNet(features=6), jnp.asarray(np.random.rand(8, 45), jnp.float32)
    key = jax.random.key(0)
    variables = net.init({"params": key, "dropout": key}, statistics, train=True)
    assert np.abs(net.apply(variables, statistics, train=False)).max() == 0

    def loss(params):
        out, _ = net.apply(
            {**variables, "params": params},
            statistics,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        return jnp.mean(jnp.square(out - 1))

    gradient = jax.grad(loss)(variables["params"])
    assert np.abs(gradient["out"]["kernel"]).max() > 0

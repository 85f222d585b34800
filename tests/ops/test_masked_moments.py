"""Masked mean and standard deviation: definition, gradients, degenerate masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.errors import InputError
from jaxharm.ops import masked_moments

RNG = np.random.default_rng(3)


def numpy_moments(x, mask, eps=1e-5):
    n = mask.sum((1, 2), keepdims=True) + eps
    mean = (x * mask).sum((1, 2), keepdims=True) / n
    return mean, np.sqrt((((x - mean) * mask) ** 2).sum((1, 2), keepdims=True) / n + eps)


@pytest.mark.parametrize("kind", ["hard", "soft", "full", "empty", "one pixel"])
def test_matches_the_definition(kind):
    x = RNG.normal(3, 1, (2, 11, 9, 4))
    mask = np.zeros((2, 11, 9, 1)) if kind in ("empty", "one pixel") else RNG.random((2, 11, 9, 1))
    if kind == "one pixel":
        mask[:, 4, 5] = 1
    mask = {"hard": (mask > 0.5) * 1.0, "full": np.ones_like(mask)}.get(kind, mask)
    for got, want in zip(
        masked_moments(jnp.float32(x), jnp.float32(mask)), numpy_moments(x, mask), strict=True
    ):
        assert got.shape == (2, 1, 1, 4)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_gradients_are_the_slopes():
    x, mask = RNG.normal(size=(1, 5, 6, 2)), RNG.random((1, 5, 6, 1))
    a, b = RNG.normal(size=(2, 1, 1, 1, 2))

    def value(moments):
        return (moments[0] * a).sum() + (moments[1] * b).sum()

    grads = jax.jit(jax.grad(lambda x, m: value(masked_moments(x, m)), (0, 1)))(
        jnp.float32(x), jnp.float32(mask)
    )
    for index, grad in enumerate(grads):
        step = RNG.normal(size=grad.shape)
        moved = [
            value(numpy_moments(*[v + s * step * (i == index) for i, v in enumerate((x, mask))]))
            for s in (1e-5, -1e-5)
        ]
        slope = (moved[0] - moved[1]) / 2e-5
        assert float((np.asarray(grad) * step).sum()) == pytest.approx(slope, rel=1e-4)


def test_gradient_of_an_empty_or_constant_region_is_finite():
    x = jnp.ones((1, 4, 4, 3))
    gradients = jax.jit(jax.grad(lambda *a: sum(m.sum() for m in masked_moments(*a)), (0, 1)))
    for mask in (jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))):
        for grad in gradients(x, mask):
            assert bool(jnp.isfinite(grad).all())


def test_bfloat16_input_gives_float32_moments():
    x = jnp.asarray(100 + RNG.normal(size=(1, 32, 32, 2)), jnp.bfloat16)
    mask = jnp.ones((1, 32, 32, 1), jnp.bfloat16)
    mean, std = masked_moments(x, mask)
    want = numpy_moments(np.asarray(x, np.float64), np.ones((1, 32, 32, 1)))
    assert mean.dtype == std.dtype == jnp.float32
    np.testing.assert_allclose(mean, want[0], rtol=1e-5)
    np.testing.assert_allclose(std, want[1], rtol=1e-4)


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match="mask"):
        masked_moments(jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 3)))
    with pytest.raises(InputError, match="this process runs on cpu"):
        masked_moments(
            jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 1)), implementation="pallas_tpu"
        )

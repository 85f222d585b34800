"""Maxima: values, gradients, ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.nn.pool import max_pool, mean_and_max

X = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 6, 3)), jnp.float32)


def test_max_pool_and_its_gradient():
    cells = X.reshape(2, 2, 2, 3, 2, 3)
    np.testing.assert_array_equal(max_pool(X), cells.max((2, 4)))
    upstream = jnp.arange(1.0, 37.0).reshape(2, 2, 3, 3)
    got = jax.vjp(max_pool, X)[1](upstream)[0]
    want = jax.vjp(lambda x: x.reshape(cells.shape).max((2, 4)), X)[1](upstream)[0]
    np.testing.assert_array_equal(got, want)


def test_the_first_of_tied_maxima_has_the_gradient():
    window = jnp.asarray([[0.0, 5], [5, 5]]).reshape(1, 2, 2, 1)
    assert jax.grad(lambda x: max_pool(x).sum())(window).ravel().tolist() == [0, 1, 0, 0]
    assert jax.grad(lambda x: max_pool(x).sum())(0 * window).ravel().tolist() == [1, 0, 0, 0]


def test_mean_and_max_and_their_gradient():
    def plain(x):
        return jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], -1)

    np.testing.assert_allclose(mean_and_max(X), plain(X), atol=1e-6)
    upstream = jnp.arange(12.0).reshape(2, 6)
    for x in (X, jnp.zeros_like(X)):  # the second has every maximum tied
        got, want = (jax.vjp(f, x)[1](upstream)[0] for f in (mean_and_max, plain))
        np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("function", [max_pool, mean_and_max])
def test_gradients_stay_finite_where_the_input_is_rounded_twice(function):
    """The saved result need not equal what the input is recomputed as."""

    def loss(x):
        return function(x * jnp.float32(1.1)).sum()

    grad = jax.jit(jax.grad(loss), compiler_options={"xla_backend_optimization_level": 0})(X)
    assert bool(jnp.isfinite(grad).all())

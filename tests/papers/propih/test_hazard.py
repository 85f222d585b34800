"""The hazard loss and the decision, by hand."""

import jax.numpy as jnp
import numpy as np

from jaxharm.papers.propih.hazard import decide, hazard_error


def test_hazard_error_by_hand():
    logits = jnp.array([[1.0, 1.0, 1.0], [-2.0, -2.0, -2.0], [0.5, 0.5, 0.5]])

    def stay(x):
        return np.log1p(np.exp(x))

    def leave(x):
        return np.log1p(np.exp(-x))

    expected = [
        leave(1.0),  # leaves at once: the later decisions do not count
        stay(1.0) + stay(-2.0) + leave(0.5),
        stay(1.0) + stay(-2.0) + stay(0.5),  # stage 4 is no decision
    ]
    found = hazard_error(logits, jnp.array([1, 3, 4]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_first_stage_at_the_threshold_is_chosen():
    logits = jnp.array([[0.0, -1.0, -1.0], [3.0, 2.0, -1.0], [3.0, 2.0, -1.0]])
    np.testing.assert_array_equal(decide(logits), [1, 2, 4])
    np.testing.assert_array_equal(decide(logits, 0.9), [2, 4, 4])

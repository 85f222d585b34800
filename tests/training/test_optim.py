"""Schedules and optimizers against their formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.config import OptimConfig
from jaxharm.errors import InputError
from jaxharm.training.optim import make_optimizer, make_schedule


def rates(config, total):
    schedule = make_schedule(config, total)
    return [float(schedule(jnp.asarray(step))) for step in range(total)]


def test_constant_with_warmup():
    values = rates(OptimConfig(lr=1.0, warmup_steps=4), 8)
    np.testing.assert_allclose(values, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1])


def test_cosine_ends_at_final_lr():
    schedule = make_schedule(OptimConfig(lr=1.0, schedule="cosine", final_lr=0.1), 10)
    np.testing.assert_allclose([schedule(0), schedule(5), schedule(10)], [1, 0.55, 0.1], rtol=1e-6)


def test_step_multiplies_at_each_milestone():
    config = OptimConfig(lr=4e-5, schedule="step", milestones=(0.2, 0.5), gamma=0.5)
    np.testing.assert_allclose(rates(config, 10), [4e-5] * 2 + [2e-5] * 3 + [1e-5] * 5, rtol=1e-6)


def test_impossible_milestones_are_refused():
    with pytest.raises(InputError, match="milestones"):
        make_schedule(OptimConfig(milestones=(20.0,)), 10)


def first_two_updates(**options):
    """Updates of a parameter 2.0 under gradients 3.0 and -1.0."""
    optimizer = make_optimizer(OptimConfig(lr=0.1, **options), 100)
    params = jnp.asarray([2.0])
    state = optimizer.init(params)
    updates = []
    for grad in (3.0, -1.0):
        update, state = optimizer.update(jnp.asarray([grad]), state, params)
        updates.append(float(update[0]))
    return updates


def test_sgd_has_momentum_b1():
    np.testing.assert_allclose(first_two_updates(name="sgd", b1=0.5), [-0.3, -0.05], rtol=1e-6)


def test_adam():
    m, v = 0.9 * 0.3 - 0.1, 0.999 * 0.009 + 0.001
    second = -0.1 * (m / (1 - 0.9**2)) / np.sqrt(v / (1 - 0.999**2))
    np.testing.assert_allclose(first_two_updates(name="adam"), [-0.1, second], rtol=1e-4)


def test_eps_is_added_to_the_denominator():
    first, _ = first_two_updates(name="adam", eps=1.0)
    assert first == pytest.approx(-0.1 * 3 / (3 + 1), rel=1e-5)
    small, _ = first_two_updates(name="adamw", eps=5.0)
    assert small == pytest.approx(-0.1 * 3 / (3 + 5), rel=1e-5)


def test_lion_is_the_sign_and_does_not_decay_unless_asked():
    # Second direction: sign(0.9 * (0.01 * 3) + 0.1 * -1) = -1.
    options = {"name": "lion", "b1": 0.9, "b2": 0.99}
    np.testing.assert_allclose(first_two_updates(**options), [-0.1, 0.1], rtol=1e-6)
    decayed = first_two_updates(**options, weight_decay=0.5)
    np.testing.assert_allclose(decayed, [-0.1 - 0.1 * 0.5 * 2, 0.1 - 0.1 * 0.5 * 2], rtol=1e-6)


def test_weight_decay_of_adam_is_part_of_the_gradient_and_of_adamw_is_not():
    assert first_two_updates(name="adam", weight_decay=0.5)[0] == pytest.approx(-0.1, rel=1e-4)
    assert first_two_updates(name="adamw", weight_decay=0.5)[0] == pytest.approx(-0.2, rel=1e-4)


def test_clipping_limits_the_global_norm():
    clipped = first_two_updates(name="sgd", b1=0.0, clip_norm=0.5)
    np.testing.assert_allclose(clipped, [-0.05, 0.05], rtol=1e-6)

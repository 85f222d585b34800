"""Relation maps and their distance: hand checks of the specification, degenerate masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.papers.giftnet.relation import (
    distillation_error,
    map_distance,
    relation_map,
    unit_features,
)

RNG = np.random.default_rng(3)
FEATURES = RNG.normal(size=(2, 5, 6, 4)).astype(np.float32)
MASK = RNG.random((2, 5, 6, 1)).astype(np.float32)


def expected_map(features, mask, similarity):
    """The formula of the specification, position by position, in float64."""
    features, mask = features.astype(np.float64), mask.astype(np.float64)
    out = np.zeros(features.shape[:3])
    for n in range(len(features)):
        mean = (mask[n] * features[n]).sum((0, 1)) / max(mask[n].sum(), 1e-6)
        for i, j in np.ndindex(out.shape[1:]):
            vector = features[n, i, j]
            lengths = max(np.linalg.norm(mean) * np.linalg.norm(vector), 1e-8)
            out[n, i, j] = {
                "cosine": mean @ vector / lengths,
                "dot": (mean * vector).mean(),
                "neg_l2": -np.square(mean - vector).mean(),
            }[similarity]
    return out


@pytest.mark.parametrize("similarity", ["cosine", "dot", "neg_l2"])
def test_map_is_the_formula(similarity):
    found = relation_map(FEATURES, MASK, similarity=similarity)
    np.testing.assert_allclose(found, expected_map(FEATURES, MASK, similarity), atol=2e-6)


def test_constant_features_relate_fully_and_scale_does_not_matter():
    constant = np.broadcast_to(FEATURES[:, :1, :1], FEATURES.shape)
    np.testing.assert_allclose(relation_map(constant, MASK), 1, atol=1e-6)
    first, second = relation_map(FEATURES, MASK), relation_map(FEATURES * 37, MASK)
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "neg_l2"])
def test_no_foreground_and_no_features_give_finite_maps_and_gradients(similarity):
    empty, zeros = np.zeros_like(MASK), np.zeros_like(FEATURES)
    for features, mask in ((FEATURES, empty), (zeros, MASK), (zeros, empty)):
        value, gradient = jax.value_and_grad(
            lambda x, m=mask: jnp.sum(jnp.square(relation_map(x, m, similarity=similarity)))
        )(jnp.asarray(features))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    if similarity != "neg_l2":
        np.testing.assert_array_equal(relation_map(FEATURES, empty, similarity=similarity), 0)


def test_unit_features_have_length_one_or_zero():
    features = FEATURES.copy()
    features[0, 0, 0] = 0
    lengths = np.linalg.norm(unit_features(features), axis=-1)
    assert lengths[0, 0, 0] == 0
    np.testing.assert_allclose(lengths.ravel()[1:], 1, atol=1e-6)


@pytest.mark.parametrize("distance", ["l2", "l1"])
@pytest.mark.parametrize("positions", ["all", "background", "foreground"])
def test_distance_is_averaged_over_the_positions(positions, distance):
    student, teacher = relation_map(FEATURES, MASK), relation_map(FEATURES[::-1], MASK)
    weight = {"all": np.ones_like(MASK), "background": 1 - MASK, "foreground": MASK}[positions]
    difference = np.abs(np.float64(student) - np.float64(teacher))
    error = difference**2 if distance == "l2" else difference
    expected = (weight[..., 0] * error).sum((1, 2)) / weight.sum((1, 2, 3))
    options = {"positions": positions, "distance": distance}
    found = map_distance(student, teacher, MASK, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(map_distance(student, student, MASK, **options), 0)
    assert np.isfinite(map_distance(student, teacher, 0 * MASK, **options)).all()
    assert np.isfinite(map_distance(student, teacher, 0 * MASK + 1, **options)).all()


def test_whole_features_differ_by_the_squared_distance_of_their_directions():
    student, teacher = unit_features(FEATURES), unit_features(FEATURES[::-1])
    cosine = np.sum(np.float64(student) * teacher, -1)
    np.testing.assert_allclose(
        map_distance(student, teacher, MASK), (2 - 2 * cosine).mean((1, 2)), rtol=1e-5
    )


def test_images_without_a_foreground_do_not_count():
    mask = np.zeros((3, 4, 4, 1), np.float32)
    mask[0, :2] = 1
    mask[1, 0, 0] = 1  # one pixel: not more than 1
    total, count = distillation_error(
        [jnp.array([1.0, 5.0, 7.0]), jnp.array([3.0, 5.0, 7.0])], mask
    )
    assert (float(total), float(count)) == (2.0, 1.0)

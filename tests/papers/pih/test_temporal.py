"""Smoothing over time: less jitter, no lag, no drift, nothing across a cut."""

import numpy as np
import pytest

from jaxharm.papers.pih.parameters import Parameters
from jaxharm.papers.pih.temporal import CUT, Frame, line_weights, smooth, thumbnail

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.random((16, 16, 3), np.float32) * 0.8


def clip(curves, shading=None, pictures=None):
    """Frames with curves [t,3,k], and a picture that stays."""
    return [
        Frame(
            Parameters(curve, None if shading is None else shading[t]),
            PICTURE if pictures is None else pictures[t],
        )
        for t, curve in enumerate(curves)
    ]


def ramp(count, noise=0.0):
    time = np.linspace(0.2, 0.7, count)[:, None, None] * np.ones((1, 3, 8))
    return (time + noise * RANDOM.normal(size=time.shape)).astype(np.float32)


def jitter(values):
    """Mean size of the second difference: zero for steady motion."""
    return np.abs(np.diff(values, 2, axis=0)).mean()


@pytest.mark.parametrize("radius", [1, 3, 7])
def test_a_steady_change_passes_unaltered(radius):
    curves, shading = ramp(30), np.linspace(0.5, 1, 30)[:, None, None] * np.ones((1, 4, 4))
    results = list(smooth(clip(curves, shading), radius))
    assert len(results) == 30
    np.testing.assert_allclose([p.curves for p in results], curves, atol=1e-6)
    np.testing.assert_allclose([p.shading for p in results], shading, atol=1e-6)


def test_jitter_shrinks_and_the_mean_stays():
    noisy = ramp(60, noise=0.02)
    smoothed = np.array([p.curves for p in smooth(clip(noisy), 7)])
    assert jitter(smoothed) < jitter(noisy) / 10
    steady = ramp(60)
    assert np.abs(smoothed - steady).mean() < np.abs(noisy - steady).mean() / 2
    # No lag and no drift: the beginning, the middle and the end are where they were.
    for part in (slice(0, 20), slice(20, 40), slice(40, 60)):
        assert abs((smoothed[part] - noisy[part]).mean()) < 1e-3


def test_nothing_passes_a_cut():
    curves = np.concatenate([np.full((10, 3, 8), 0.2), np.full((10, 3, 8), 0.9)])
    pictures = [PICTURE] * 10 + [PICTURE + 2 * CUT] * 10
    results = np.array([p.curves for p in smooth(clip(curves, pictures=pictures), 5)])
    np.testing.assert_allclose(results, curves, atol=1e-6)
    blurred = np.array([p.curves for p in smooth(clip(curves), 5)])
    assert np.abs(blurred - curves).max() > 0.1


def test_frames_without_prediction_keep_their_place():
    frames = clip(ramp(12))
    frames[4] = frames[11] = None
    results = list(smooth(frames, 3))
    assert [result is None for result in results] == [frame is None for frame in frames]
    kept = [i for i, frame in enumerate(frames) if frame is not None]
    np.testing.assert_allclose([results[i].curves for i in kept], ramp(12)[kept], atol=1e-6)


def test_clips_shorter_than_the_window():
    for count in (0, 1, 2, 3):
        curves = np.full((count, 3, 8), 0.4)
        results = list(smooth(clip(curves), 7))
        assert len(results) == count
        for result in results:
            np.testing.assert_allclose(result.curves, 0.4, atol=1e-6)


def test_a_window_of_frames_is_held():
    seen = []

    def frames():
        for frame in clip(ramp(40)):
            seen.append(frame)
            yield frame

    results = smooth(frames(), 4)
    next(results)
    assert len(seen) == 5
    next(results)
    assert len(seen) == 6


def test_weights_are_a_smoothing():
    weights = line_weights(np.arange(-7, 8), 7)
    np.testing.assert_allclose(weights, weights[::-1])
    assert weights.sum() == pytest.approx(1)
    assert weights.min() > 0
    edge = line_weights(np.arange(0, 8), 7)
    assert edge.sum() == pytest.approx(1)
    assert (edge * np.arange(0, 8)).sum() == pytest.approx(0)
    assert (edge**2).sum() < 0.7  # noise shrinks at the ends as well


def test_values_stay_in_range_at_the_ends():
    curves = np.full((10, 3, 8), 0.0, np.float32)
    curves[3:] = 1
    results = np.array([p.curves for p in smooth(clip(curves), 3)])
    assert results.min() >= 0
    assert results.max() <= 1


def test_thumbnails_of_every_depth_agree():
    image = RANDOM.integers(0, 256, (40, 50, 3), np.uint8)
    small = thumbnail(image)
    assert small.shape == (16, 16, 3)
    np.testing.assert_allclose(thumbnail(image.astype(np.uint16) * 257), small, atol=2 / 255)

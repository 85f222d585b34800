"""Smooths the parameters of a clip's frames over time, so that the result does not flicker.

A network that sees each frame alone gives parameters that jitter from frame to frame, which shows
as flicker. Every number (knot of a curve, pixel of the shading map) is smoothed on its own: its
value at frame t is that at t of the straight line fitted by weighted least squares to the frames
t-r to t+r of the same scene, with weights falling off as a Gaussian of deviation r/2. A change at
constant speed passes unaltered, so that nothing lags behind or drifts; near the ends of a scene the
window is what there is of it.

A new scene starts where the picture changes all over: the mean absolute difference of two frames'
16x16 reductions exceeds `CUT`. The reduction is of the composite, in [0,1].
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jaxharm.images.resize import shrink
from jaxharm.papers.pih.parameters import Parameters

DEFAULT_RADIUS = 7
CUT = 0.1
_THUMBNAIL = (16, 16)


@dataclass(frozen=True, eq=False)
class Frame:
    """What is kept of a frame.

    Attributes:
        parameters: the prediction.
        thumbnail: f32[16,16,3] in [0,1].
    """

    parameters: Parameters
    thumbnail: np.ndarray


def thumbnail(composite: np.ndarray) -> np.ndarray:
    """[h,w,3] in u8, u16 or float -> f32[16,16,3] in [0,1], to compare frames by."""
    return shrink(composite, _THUMBNAIL)


def smooth(frames: Iterable[Frame | None], radius: int) -> Iterator[Parameters | None]:
    """Smooths a clip; holds 2*radius+1 frames at a time.

    Args:
        frames: in order; None where there is no prediction: such a frame has no weight but keeps
            its place in time.
        radius: r of the module's text, at least 1.

    Yields:
        One result per frame, in order, when `radius` further frames are known; None for None.
    """
    window: deque[tuple[int, int, Frame | None]] = deque()  # (time, scene, frame)
    scene, last, due = 0, None, 0
    for time, frame in enumerate(frames):
        if frame is not None:
            if last is not None and is_cut(last, frame):
                scene += 1
            last = frame
        # Frames without a prediction are kept: they hold a place in time, and get no result.
        window.append((time, scene, frame))
        if time - due == radius:
            yield _fit(window, due, radius)
            due += 1
        while window[0][0] < due - radius:
            window.popleft()
    # The clip has ended: the windows of the last frames are what there is.
    while window and due <= window[-1][0]:
        yield _fit(window, due, radius)
        due += 1


def is_cut(before: Frame, after: Frame) -> bool:
    """Whether a new scene starts with `after`, by the pictures or by the parameters' shapes."""
    if np.mean(np.abs(before.thumbnail - after.thumbnail)) > CUT:
        return True
    # Predictions of another shape (other weights, no shading) cannot be averaged with these.
    shapes = [
        (p.curves.shape, None if p.shading is None else p.shading.shape)
        for p in (before.parameters, after.parameters)
    ]
    return shapes[0] != shapes[1]


def _fit(
    window: Iterable[tuple[int, int, Frame | None]], center: int, radius: int
) -> Parameters | None:
    scene, own = next((scene, frame) for time, scene, frame in window if time == center)
    if own is None:
        return None
    near = [
        (time - center, frame.parameters)
        for time, other, frame in window
        if frame is not None and other == scene and abs(time - center) <= radius
    ]
    weights = line_weights(np.array([offset for offset, _ in near]), radius)
    curves = _mix(weights, [parameters.curves for _, parameters in near])
    shading = None
    if own.parameters.shading is not None:
        maps = [parameters.shading for _, parameters in near if parameters.shading is not None]
        shading = _mix(weights, maps)
    return Parameters(curves, shading, own.parameters.single_alpha)


def line_weights(offsets: np.ndarray, radius: int) -> np.ndarray:
    """f64[n]: weights with which values at `offsets` give the fitted line's value at 0; sum 1."""
    gauss = np.exp(-2 * (offsets / radius) ** 2)
    # A single frame has no spread to divide by, and is its own average.
    if len(offsets) == 1:
        return np.ones(1)
    mean = np.average(offsets, weights=gauss)
    spread = np.average((offsets - mean) ** 2, weights=gauss)
    return gauss / gauss.sum() * (1 - mean * (offsets - mean) / spread)


def _mix(weights: np.ndarray, values: Sequence[np.ndarray]) -> np.ndarray:
    # float64: with equal frames the sum must give back their bits in float32.
    total = np.zeros(values[0].shape, np.float64)
    for weight, value in zip(weights, values, strict=True):
        total += weight * value
    # At the ends of a scene some weights are negative, so that the sum may lie outside of [0,1].
    return np.clip(total, 0.0, 1.0).astype(np.float32)

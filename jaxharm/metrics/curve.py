"""What no curve can repair: the error that differs from place to place."""

import numpy as np

from jaxharm.metrics.arrays import make_pair
from jaxharm.metrics.protocols import Protocol

_LEVELS = 256


def curve_fmse(
    prediction: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray,
    *,
    protocol: str | Protocol = "default_256",
) -> np.ndarray:
    """The fMSE that is left after the best rising curve of each channel.

    The curves map the 256 levels of a prediction (rounded) and are fitted to its own foreground
    with the target known. So for the composite this is the least fMSE that a model of rising global
    curves can reach, and for a prediction the part of its error that differs between pixels of
    equal color. Rising global curves can make pixels equal but not different: on a binary mask they
    cannot lower this measure.

    Args:
        prediction: f32[b,h,w,3] in [0,1], or u8.
        target: f32[b,h,w,3] in [0,1], or u8.
        mask: f32[b,h,w,1] in [0,1].
        protocol: decides clipping, quantization and the weights of the foreground.

    Returns:
        f64[b] on the 0-255 scale; NaN without foreground, or where the protocol has no fMSE.

    Raises:
        InputError (a ValueError): as for `jaxharm.metrics.fmse`.

    Source: docs/metrics.md, "Definitions".
    """
    pair = make_pair(np.asarray(prediction), np.asarray(target), np.asarray(mask), protocol)
    values = np.full(len(pair.prediction), np.nan)
    if pair.protocol.fmse == "none":
        return values
    for i, (image, goal, weight) in enumerate(
        zip(pair.prediction, pair.target, pair.weight, strict=True)
    ):
        inside = weight[..., 0] > 0
        if inside.any():
            share = weight[inside, 0]
            levels = np.rint(np.clip(image[inside], 0, _LEVELS - 1)).astype(np.int64)
            left = [_residual(levels[:, c], goal[inside, c], share) for c in range(3)]
            values[i] = sum(left) / (3 * share.sum())
    return values


def _residual(levels: np.ndarray, goal: np.ndarray, weight: np.ndarray) -> float:
    """Weighted sum of squares that the best rising function of `levels` leaves of `goal`, all [n]."""
    total, first, second = (
        np.bincount(levels, weight * goal**power, _LEVELS) for power in (0, 1, 2)
    )
    used = total > 0
    total, first, second = total[used], first[used], second[used]
    mean = first / total
    # Imported here, as it is slow to load and most commands draw no curve.
    from scipy.optimize import isotonic_regression

    curve = isotonic_regression(mean, weights=total).x
    return float(np.sum(second - first * mean) + np.sum(total * (mean - curve) ** 2))

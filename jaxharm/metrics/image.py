"""Squared, absolute and foreground errors per image, on the 0-255 scale.

The fields of `Protocol` describe the published variants; formulas: docs/metrics.md, "Definitions".
"""

import numpy as np

from jaxharm.metrics.arrays import (
    FLOOR,
    GUARD,
    Images,
    Pair,
    compiled,
    make_pair,
    total,
    weighted_mean,
)
from jaxharm.metrics.protocols import Protocol


def mse(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> Images:
    """Mean squared error per image, on the 0-255 scale.

    Args:
        prediction: f32[b,h,w,3] in [0,1]; clipped unless the protocol has `clip=False`.
        target: f32[b,h,w,3] in [0,1], the real image at the same size.
        mask: f32[b,h,w,1] in [0,1]; read only by protocols with a masked MSE.
        protocol: the conventions; sizes are as given, resizing is the evaluator's job.

    Returns:
        f32[b].

    Raises:
        InputError (a ValueError): shapes that do not match, or an unknown protocol.
    """
    return pair_mse(make_pair(prediction, target, mask, protocol)).astype(np.float32)


def fmse(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> Images:
    """Foreground mean squared error f32[b]; NaN where it is undefined (empty mask).

    Arguments and errors as for `mse`.
    """
    return pair_fmse(make_pair(prediction, target, mask, protocol)).astype(np.float32)


def psnr(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> Images:
    """Peak signal-to-noise ratio in dB, f32[b]. Arguments and errors as for `mse`."""
    pair = make_pair(prediction, target, mask, protocol)
    return decibels(pair, pair_mse(pair)).astype(np.float32)


def fpsnr(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> Images:
    """PSNR of the foreground error, in dB, f32[b]; NaN where `fmse` is NaN."""
    pair = make_pair(prediction, target, mask, protocol)
    return decibels(pair, pair_fmse(pair)).astype(np.float32)


def mae(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> Images:
    """Mean absolute error over all pixels, f32[b]. Arguments and errors as for `mse`."""
    return pair_mae(make_pair(prediction, target, mask, protocol)).astype(np.float32)


def se(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> Images:
    """Sum over the mask of the squared error, in millions (PCT-Net's SE), f32[b]."""
    return pair_se(make_pair(prediction, target, mask, protocol)).astype(np.float32)


@compiled
def pair_mse(pair: Pair) -> Images:
    """`mse` of a prepared pair, in its own floating type, [b]."""
    squared = _squared(pair)
    if pair.protocol.mse == "masked":
        squared = squared * pair.weight
    return total(squared) / np.prod(squared.shape[1:])


@compiled
def pair_fmse(pair: Pair) -> Images:
    """`fmse` of a prepared pair, in its own floating type, [b]."""
    xp, rule, eps = pair.xp, pair.protocol.fmse, pair.protocol.fmse_eps
    squared = _squared(pair)
    if rule == "none":
        return xp.full_like(total(squared), xp.nan)
    if rule == "mean":
        if eps:
            return total(squared * pair.weight) / (3 * total(pair.weight) + eps)
        return weighted_mean(xp, squared, pair.weight)
    if rule == "squared":
        squared = squared * pair.weight**2
    area = total(pair.weight)
    safe = xp.where(area > 0, area, 1.0)
    return xp.where(area > 0, total(squared) / (3 * safe), xp.nan)


@compiled
def pair_mae(pair: Pair) -> Images:
    """`mae` of a prepared pair, [b]."""
    difference = pair.xp.abs(pair.prediction - pair.target)
    return total(difference) / np.prod(difference.shape[1:])


@compiled
def pair_se(pair: Pair) -> Images:
    """`se` of a prepared pair, [b]."""
    return total(_squared(pair) * pair.weight) / 1e6


@compiled
def decibels(pair: Pair, error: Images) -> Images:
    """PSNR in dB of the mean squared errors `error` [b], by the protocol's peak and guard."""
    xp = pair.xp
    if pair.protocol.psnr_guard == "floor":
        error = xp.maximum(error, FLOOR)
    elif pair.protocol.psnr_guard == "add":
        error = error + GUARD
    with np.errstate(divide="ignore"):  # no guard: a perfect result is infinite by definition
        return 20 * xp.log10(peak(pair)) - 10 * xp.log10(error)


def peak(pair: Pair) -> Images:
    """The PSNR peak per image, [b]."""
    axes = (1, 2, 3)
    if pair.protocol.peak == "real_max":
        return pair.target.max(axis=axes)
    if pair.protocol.peak == "prediction_range":
        return pair.prediction.max(axis=axes) - pair.prediction.min(axis=axes)
    return pair.xp.full(pair.target.shape[:1], 255.0, pair.target.dtype)


def _squared(pair: Pair) -> Images:
    return (pair.prediction - pair.target) ** 2

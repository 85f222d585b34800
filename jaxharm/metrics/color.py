"""Color differences per image: CIE 1976, CIE 1994 (graphic arts) and CIEDE2000.

sRGB (IEC 61966-2-1) -> XYZ, D65 white of the 2 degree observer -> CIELAB. CIEDE2000 follows Sharma,
Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes", 2005.
"""

import functools
from types import ModuleType
from typing import Literal

import numpy as np

from jaxharm.images.color import exact_lab
from jaxharm.metrics.arrays import Images, Pair, compiled, make_pair, total, weighted_mean
from jaxharm.metrics.protocols import Protocol

Lab = tuple[Images, Images, Images]
Formula = Literal["76", "94", "2000"]


def delta_e(
    prediction: Images,
    target: Images,
    mask: Images,
    *,
    formula: Formula = "2000",
    protocol: str | Protocol = "default_256",
) -> Images:
    """Mean color difference (Delta E) over all pixels, f32[b].

    Args:
        prediction: f32[b,h,w,3] in [0,1]; clipped.
        target: f32[b,h,w,3] in [0,1].
        mask: f32[b,h,w,1] in [0,1].
        formula: "76" Euclidean, "94" (kL = kC = kH = 1, K1 .045, K2 .015), "2000".
        protocol: the conventions.

    Raises:
        InputError (a ValueError): shapes that do not match, or an unknown protocol.
    """
    pair = make_pair(prediction, target, mask, protocol)
    return pair_delta_e(pair, formula)[0].astype(np.float32)


def fdelta_e(
    prediction: Images,
    target: Images,
    mask: Images,
    *,
    formula: Formula = "2000",
    protocol: str | Protocol = "default_256",
) -> Images:
    """Mean color difference of the foreground, f32[b]; NaN for an empty mask. As `delta_e`."""
    pair = make_pair(prediction, target, mask, protocol)
    return pair_delta_e(pair, formula)[1].astype(np.float32)


@functools.partial(compiled, static=("formula",))
def pair_delta_e(pair: Pair, formula: Formula = "2000") -> tuple[Images, Images]:
    """(mean over all pixels, mean over the foreground) of a prepared pair, each [b]."""
    xp = pair.xp
    first = exact_lab(xp.clip(pair.prediction, 0.0, 255.0) / 255.0, xp)
    second = exact_lab(pair.target / 255.0, xp)
    difference = _FORMULAS[formula](xp, second, first)
    whole = total(difference) / np.prod(difference.shape[1:])
    return whole, weighted_mean(xp, difference, pair.weight)


def _delta_76(xp: ModuleType, real: Lab, other: Lab) -> Images:
    return xp.sqrt(sum((p - q) ** 2 for p, q in zip(real, other, strict=True)))


def _delta_94(xp: ModuleType, real: Lab, other: Lab) -> Images:
    (l1, a1, b1), (l2, a2, b2) = real, other
    c1, c2 = xp.hypot(a1, b1), xp.hypot(a2, b2)
    chroma = (c1 - c2) ** 2
    # Never negative but for rounding.
    hue = xp.maximum((a1 - a2) ** 2 + (b1 - b2) ** 2 - chroma, 0.0)
    square = (l1 - l2) ** 2 + chroma / (1 + 0.045 * c1) ** 2 + hue / (1 + 0.015 * c1) ** 2
    return xp.sqrt(square)


def _delta_2000(xp: ModuleType, real: Lab, other: Lab) -> Images:
    # The names and the order of the steps are those of the cited notes.
    (l1, a1, b1), (l2, a2, b2) = real, other
    mean_c = (xp.hypot(a1, b1) + xp.hypot(a2, b2)) / 2
    scale = 1.5 - 0.5 * xp.sqrt(mean_c**7 / (mean_c**7 + 25.0**7))  # 1 + G
    a1, a2 = a1 * scale, a2 * scale
    c1, c2 = xp.hypot(a1, b1), xp.hypot(a2, b2)
    turn = 2 * np.pi
    h1, h2 = xp.arctan2(b1, a1) % turn, xp.arctan2(b2, a2) % turn
    # A gray has no hue: its difference counts as 0 and the mean is the other color's hue.
    colored = c1 * c2 != 0
    step = h2 - h1
    step = xp.where(step > np.pi, step - turn, xp.where(step < -np.pi, step + turn, step))
    step = xp.where(colored, step, 0.0)
    hue = 2 * xp.sqrt(c1 * c2) * xp.sin(step / 2)
    # Hues are angles: those more than half a turn apart have their mean on the other side.
    mean_h = (h1 + h2) / 2
    far = abs(h1 - h2) > np.pi
    mean_h = xp.where(far, xp.where(h1 + h2 < turn, mean_h + np.pi, mean_h - np.pi), mean_h)
    mean_h = xp.where(colored, mean_h, h1 + h2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    degree = np.pi / 180
    t = (
        1
        - 0.17 * xp.cos(mean_h - 30 * degree)
        + 0.24 * xp.cos(2 * mean_h)
        + 0.32 * xp.cos(3 * mean_h + 6 * degree)
        - 0.20 * xp.cos(4 * mean_h - 63 * degree)
    )
    offset = (mean_l - 50) ** 2
    s_l = 1 + 0.015 * offset / xp.sqrt(20 + offset)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = 60 * degree * xp.exp(-(((mean_h / degree - 275) / 25) ** 2))
    r_t = -2 * xp.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * xp.sin(rotation)
    l_term, c_term, h_term = (l2 - l1) / s_l, (c2 - c1) / s_c, hue / s_h
    square = l_term**2 + c_term**2 + h_term**2 + r_t * c_term * h_term
    return xp.sqrt(xp.maximum(square, 0.0))


_FORMULAS = {"76": _delta_76, "94": _delta_94, "2000": _delta_2000}

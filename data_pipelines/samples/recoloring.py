"""Makes composites from photographs: the masked object gets other colors, the photograph is the target.

`recolor` is seeded, takes a few milliseconds for 256x256, and changes nothing outside the mask. A
change is kept only if it is plausible (see `_violation`).

Source: docs/data.md, "Recoloring".
"""

from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.samples import lighting
from data_pipelines.samples.lighting import PlacedChange
from jaxharm.errors import InputError
from jaxharm.images import color_changes
from jaxharm.images.bit_depth import quantize
from jaxharm.images.color import LUMA

Family = Callable[[np.ndarray, np.ndarray, np.random.Generator], color_changes.ColorChange]
FAMILIES: dict[str, Family] = {
    "lab_transfer": color_changes.lab_transfer,
    "lab_histogram": color_changes.lab_histogram,
    "covariance": color_changes.covariance,
    "curves": color_changes.curves,
    "photometric": color_changes.photometric,
    "polynomial": color_changes.chart_polynomial,
}
_LUMA = LUMA.astype(np.float32)
_TRIES = 8
_SAMPLE = 1500  # pixels from which a change is derived and on which it is checked
# Limits of a plausible change of the foreground, on the 0-255 scale.
_MSE = (150.0, 4500.0)
_DEVIATION_RATIO = (0.45, 2.2)  # of the luminance's standard deviation, after / before
_LUMINANCE = (18.0, 238.0)  # mean after the change
_TINT = (0.0, 75.0)  # length of the change of the mean color, its luminance taken out
_CLIPPED = 0.12  # share of channel values that become 0 or 255


def recolor(
    real: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
    *,
    reference: np.ndarray | None = None,
    families: Sequence[str] = tuple(FAMILIES),
) -> np.ndarray:
    """Draws a change of colors and applies it inside the mask.

    Args:
        real: u8[h,w,3], sRGB.
        mask: f32[h,w,1] or [h,w] in [0,1]; soft values blend.
        rng: the generator of everything that is drawn; equal states give equal composites.
        reference: u8[...,3], pixels of another photograph, for the families that imitate one; if
            None or empty, color statistics are drawn instead.
        families: names to draw from, each equally likely; of `FAMILIES`, or of
            `lighting.FAMILIES`, which use no reference.

    Returns:
        u8[h,w,3], equal to `real` wherever the mask is 0, and everywhere if no pixel of the mask
        reaches 0.5. If no draw is plausible, the least implausible one.

    Raises:
        InputError: no or unknown family.
    """
    check_families(families)
    pixels = real.reshape(-1, 3)
    inside = np.flatnonzero(mask.reshape(-1) > 0)
    weight = mask.reshape(-1).take(inside)
    composite = real.copy()
    sample = _spread(inside[weight >= 0.5])
    if len(sample) == 0:
        return composite
    name = families[int(rng.integers(len(families)))]
    if name in FAMILIES:
        change = _colors(pixels, sample, reference, FAMILIES[name], rng)
    else:
        change = _light(real, mask.reshape(real.shape[:2]), sample, lighting.FAMILIES[name], rng)
    before = pixels.take(inside, axis=0)
    after = np.clip(change(inside), 0, 255)
    # Written through a view; only pixels of the mask are computed, all others stay bit for bit.
    composite.reshape(-1, 3)[inside] = quantize(before + weight[:, None] * (after - before))
    return composite


def check_families(families: Sequence[str]) -> None:
    """Raises InputError unless every family is known and there is at least one."""
    known = [*FAMILIES, *lighting.FAMILIES]
    unknown = sorted(set(families) - set(known))
    if unknown or not families:
        raise InputError(
            f"synthesis families {unknown or 'are empty'}; choose from {', '.join(known)}"
        )


def _spread(places: np.ndarray) -> np.ndarray:
    """Takes evenly spaced ones of the places, fewer than 2 * _SAMPLE."""
    return places[:: max(1, len(places) // _SAMPLE)]


def _colors(
    pixels: np.ndarray,
    sample: np.ndarray,
    reference: np.ndarray | None,
    family: Family,
    rng: np.random.Generator,
) -> PlacedChange:
    """Draws a plausible change that depends on the color of a pixel alone."""
    if reference is not None:
        reference = reference.reshape(-1, 3)
        reference = reference[_spread(np.arange(len(reference)))] if len(reference) else None
    before = pixels.take(sample, axis=0)

    def draw(attempt: int) -> PlacedChange:
        # Some references have colors too different for any plausible change, so that the second
        # half of the attempts uses drawn statistics.
        if reference is None or attempt >= _TRIES // 2:
            goal = color_changes.random_reference(before, rng)
        else:
            goal = reference
        change = family(before, goal, rng)
        return lambda at: change(pixels.take(at, axis=0))

    return _most_plausible(draw, pixels, sample)


def _light(
    real: np.ndarray,
    mask: np.ndarray,
    sample: np.ndarray,
    family: lighting.LightFamily,
    rng: np.random.Generator,
) -> PlacedChange:
    """Draws a plausible change that may depend on the place of a pixel."""
    draw = family(real, mask)
    return _most_plausible(lambda _: draw(rng), real.reshape(-1, 3), sample)


def _most_plausible(
    draw: Callable[[int], PlacedChange], pixels: np.ndarray, sample: np.ndarray
) -> PlacedChange:
    """The first plausible draw, or the least implausible one of `_TRIES`."""
    before = pixels.take(sample, axis=0)
    tried: list[tuple[float, PlacedChange]] = []
    for attempt in range(_TRIES):
        change = draw(attempt)
        tried.append((_violation(before, change(sample)), change))
        if tried[-1][0] == 0:
            break
    return min(tried, key=lambda pair: pair[0])[1]


def _violation(before: np.ndarray, after: np.ndarray) -> float:
    """Measures how far a change is outside the plausible ranges; 0 inside all of them."""
    clipped = np.mean((after <= 0.5) & (before > 0)) + np.mean((after >= 254.5) & (before < 255))
    after = np.clip(after, 0, 255)
    mse = float(np.mean((after - before) ** 2))
    luma_before, luma_after = before @ _LUMA, after @ _LUMA
    ratio = (luma_after.std() + 1) / (luma_before.std() + 1)
    shift = after.mean(0) - before.mean(0)
    tint = float(np.linalg.norm(shift - shift @ _LUMA))
    return (
        _outside(mse, _MSE)
        + _outside(tint, _TINT)
        + _outside(ratio, _DEVIATION_RATIO)
        + _outside(luma_after.mean(), _LUMINANCE)
        + max(0.0, float(clipped) - _CLIPPED) / _CLIPPED
    )


def _outside(value: float, limits: tuple[float, float]) -> float:
    """Relative distance to an interval, 0 inside."""
    low, high = limits
    return max(0.0, low / max(float(value), 1e-6) - 1, float(value) / high - 1)

"""Random color changes of an object: the recoloring families of `data_pipelines.samples.recoloring`.

A family draws one change for given foreground pixels and returns it as a function on pixels
(u8[n,3] -> f32[n,3] on the 0-255 scale, not rounded), so that it can be tried on a few pixels
before it is applied to all of them. Every change is a table look-up, a 3x3 matrix, an 11-term
polynomial or a per-channel map in CIE Lab.

Source: Reinhard et al., Color Transfer between Images (2001); Pitie and Kokaram, The Linear
Monge-Kantorovitch Linear Color Mapping (2007); docs/data.md, "Recoloring".
"""

from collections.abc import Callable

import cv2
import numpy as np

from jaxharm.images import chart, polynomial
from jaxharm.images.bit_depth import quantize
from jaxharm.images.color import LUMA, from_lab, from_linear, to_lab, to_linear

ColorChange = Callable[[np.ndarray], np.ndarray]

_LUMA = LUMA.astype(np.float32)
_LEVELS = np.arange(256, dtype=np.float64) / 255
_LINEAR_LEVELS = to_linear(_LEVELS)


def lab_transfer(
    pixels: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> ColorChange:
    """Moves Lab mean and deviation towards those of `reference`, by a drawn share of the way.

    Args:
        pixels: u8[n,3], a sample of the foreground.
        reference: u8[m,3], the pixels to move towards.
        rng: source of the drawn parameters.
    """
    lab, goal = to_lab(pixels), to_lab(reference)
    ratio = np.clip((goal.std(0) + 1e-3) / (lab.std(0) + 1e-3), 0.6, 1.7)
    strength = rng.uniform(0.6, 1.0)
    scale = 1 + strength * (ratio - 1)
    shift = strength * (goal.mean(0) - lab.mean(0) * ratio)
    matrix = np.concatenate([np.diag(scale), shift[:, None]], axis=1).astype(np.float32)
    return lambda rgb: from_lab(_affine(to_lab(rgb), matrix))


def lab_histogram(
    pixels: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> ColorChange:
    """Maps 17 quantiles of each Lab channel towards those of `reference`, keeping their order."""
    strength = rng.uniform(0.5, 0.95)
    shares = np.linspace(0.01, 0.99, 17)
    sources = np.quantile(to_lab(pixels), shares, axis=0)
    goals = np.quantile(to_lab(reference), shares, axis=0)
    tables = []
    for source, goal in zip(sources.T, goals.T, strict=True):
        step = np.maximum(np.diff(source), 1e-2)
        knots = np.concatenate([[0.0], np.cumsum(step)]) + source[0]
        rise = step * np.clip(np.diff(goal) / step, 0.35, 2.2)  # no posterizing, no noise gain
        target = np.concatenate([[0.0], np.cumsum(rise)])
        target += goal[8] - target[8]
        mapped = knots + strength * (target - knots)
        # Continued with slope one, so that the extreme values keep their differences.
        knots = np.concatenate([[knots[0] - 100], knots, [knots[-1] + 100]])
        tables.append((knots, np.concatenate([[mapped[0] - 100], mapped, [mapped[-1] + 100]])))

    def change(rgb: np.ndarray) -> np.ndarray:
        lab = to_lab(rgb)
        channels = [np.interp(lab[:, c], *table) for c, table in enumerate(tables)]
        return from_lab(np.stack(channels, axis=1).astype(np.float32))

    return change


def covariance(pixels: np.ndarray, reference: np.ndarray, rng: np.random.Generator) -> ColorChange:
    """Carries mean and covariance in RGB to those of `reference` by a symmetric linear map."""
    strength = rng.uniform(0.5, 1.0)
    source, goal = pixels.astype(np.float64), reference.astype(np.float64)
    root = _matrix_power(np.cov(source.T, bias=True) + 4 * np.eye(3), 0.5)
    inverse = np.linalg.inv(root)
    middle = _matrix_power(root @ (np.cov(goal.T, bias=True) + 4 * np.eye(3)) @ root, 0.5)
    values, vectors = np.linalg.eigh(inverse @ middle @ inverse)
    matrix = (vectors * np.clip(values, 0.55, 1.8)) @ vectors.T
    matrix = np.eye(3) + strength * (matrix - np.eye(3))
    mean = source.mean(0)
    shift = mean + strength * (goal.mean(0) - mean) - matrix @ mean
    return _lookup_then_affine(np.tile(_LEVELS[:, None] * 255, 3), matrix, shift)


def curves(pixels: np.ndarray, reference: np.ndarray, rng: np.random.Generator) -> ColorChange:
    """Bends each channel by a monotone five-knot curve and mixes the channels a little."""
    del pixels, reference
    knots = np.linspace(0, 1, 5)
    common = rng.normal(0, 0.09)  # a shared bend, so that brightness changes as well as hue
    heights = knots[:, None] + np.sin(np.pi * knots)[:, None] * common
    heights = heights + rng.normal(0, 0.055, (5, 3)) * np.array([0.6, 1, 1, 1, 0.6])[:, None]
    heights = np.clip(np.maximum.accumulate(heights, axis=0), 0, 1)
    table = np.stack([_smooth(np.interp(_LEVELS, knots, heights[:, c])) for c in range(3)], 1)
    mix = rng.uniform(-0.08, 0.08, (3, 3))
    np.fill_diagonal(mix, 0)
    np.fill_diagonal(mix, 1 - mix.sum(1))  # rows sum to one: grays stay as the curves made them
    return _lookup_then_affine(table * 255, mix, np.zeros(3))


def photometric(pixels: np.ndarray, reference: np.ndarray, rng: np.random.Generator) -> ColorChange:
    """Changes exposure, white balance and gamma in linear light, then saturation and contrast."""
    del reference
    return _photometric(pixels, rng, 1.0)


def another_camera(pixels: np.ndarray, rng: np.random.Generator) -> ColorChange:
    """Applies `photometric` at 0.6 of its strength, so that a whole photograph stays plausible."""
    return _photometric(pixels, rng, 0.6)


def _photometric(pixels: np.ndarray, rng: np.random.Generator, strength: float) -> ColorChange:
    """Draws as `photometric` says; every range is multiplied by `strength`."""

    def draw(low: float, high: float) -> float:
        return strength * rng.uniform(low, high)

    stops = draw(-1.1, 0.9)
    temperature, tint = draw(-0.3, 0.3), draw(-0.1, 0.1)
    gains = np.exp([temperature - tint / 2, tint, -temperature - tint / 2])
    gains *= 2**stops / (gains @ _LUMA)
    gamma = np.exp(draw(-0.2, 0.2))
    table = from_linear(np.minimum(_LINEAR_LEVELS[:, None] * gains, 1.0) ** gamma) * 255
    saturation, contrast = 1 + draw(-0.5, 0.5), 1 + draw(-0.15, 0.15)
    matrix = contrast * (saturation * np.eye(3) + (1 - saturation) * _LUMA[None, :])
    pivot = np.mean([table[pixels[:, c], c].mean() for c in range(3)])
    return _lookup_then_affine(table, matrix, np.full(3, (1 - contrast) * pivot))


def chart_polynomial(
    pixels: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> ColorChange:
    """Carries a color chart to the same chart under a drawn light and camera, by 11 terms.

    The chart's patches go through a drawn illuminant, camera matrix and tone curve; the polynomial
    is fitted to them, held near the identity (ccHarmony's construction, with drawn instead of
    measured charts).
    """
    del pixels, reference
    strength = rng.uniform(0.6, 1.0)
    light = np.exp(rng.normal(0, [0.4, 0.1, 0.4]) + rng.normal(0, 0.6))
    camera = rng.normal(0, 0.1, (3, 3))
    np.fill_diagonal(camera, 0)
    np.fill_diagonal(camera, 1 - camera.sum(1))
    linear = np.clip((_LINEAR_LEVELS[chart.PUBLISHED] * light) @ camera.T, 0, None)
    tone = np.exp(rng.normal(0, 0.12, 3))
    seen = np.clip(from_linear(linear) ** tone, 0, 1.1) + rng.normal(0, 0.012, (24, 3))
    patches = _unit_terms(chart.PUBLISHED).astype(np.float64)
    matrix = polynomial.fit_near_identity(patches, seen, ridge=0.02, strength=strength)
    scaled = (matrix * 255).astype(np.float32)
    return lambda rgb: _unit_terms(rgb) @ scaled


def random_reference(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gives `pixels` drawn Lab statistics, to stand in for another photograph's pixels, u8[n,3]."""
    lab = to_lab(pixels)
    mean = lab.mean(0)
    scale = np.exp(rng.normal(0, [0.25, 0.3, 0.3]))
    goal = np.clip(mean[0] + rng.normal(0, 16), 15, 90), *(mean[1:] + rng.normal(0, 11, 2))
    return quantize(from_lab(((lab - mean) * scale + goal).astype(np.float32)))


def _affine(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.transform(values.reshape(-1, 1, 3), matrix).reshape(-1, 3)


def _lookup_then_affine(table: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> ColorChange:
    """Looks levels up in f64[256,3] (0-255 scale), then applies matrix [3,3] and shift [3]."""
    table = np.ascontiguousarray(table.reshape(256, 1, 3), np.float32)
    matrix = np.concatenate([matrix, shift[:, None]], axis=1).astype(np.float32)
    return lambda rgb: _affine(cv2.LUT(rgb.reshape(-1, 1, 3), table), matrix)


def _unit_terms(rgb: np.ndarray) -> np.ndarray:
    """Terms f32[n,11] of u8[n,3] scaled to [0,1]: float32 is exact enough there, and fast."""
    return polynomial.terms(rgb * np.float32(1 / 255), np.float32)


def _smooth(curve: np.ndarray, width: int = 41) -> np.ndarray:
    """Averages neighbors, which keeps a curve monotone and takes the kinks out of it."""
    padded = np.pad(curve, width // 2, mode="reflect", reflect_type="odd")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _matrix_power(symmetric: np.ndarray, power: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(symmetric)
    result: np.ndarray = (vectors * values**power) @ vectors.T
    return result

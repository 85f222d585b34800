"""Polynomial color matching between two lights, as ccHarmony was made.

Source: docs/data.md, "Recoloring".
"""

import numpy as np
import numpy.typing as npt

from jaxharm.images.bit_depth import quantize

TERMS = 11
_LINEAR = (0, 1, 2, 10)  # R, G, B and the constant


def terms(colors: np.ndarray, dtype: npt.DTypeLike = np.float64) -> np.ndarray:
    """Products of the channels, [n,3] -> [n,11]: R G B RG RB GB R^2 G^2 B^2 RGB 1."""
    r, g, b = colors.astype(dtype).T
    return np.stack(
        [r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, r * g * b, np.ones_like(r)], 1
    )


def fit(source: np.ndarray, target: np.ndarray, *, linear: bool = False) -> np.ndarray:
    """Finds the matrix that carries the colors `source` closest to `target` in least squares.

    Args:
        source, target: [n,3] colors of the same patches, 0..255.
        linear: use R, G, B and the constant only; the other columns are zero (a fallback for
            charts whose polynomial runs away between the patches).

    Returns:
        f64[3,11], of full rank.
    """
    used = list(_LINEAR) if linear else list(range(TERMS))
    matrix = np.zeros((3, TERMS))
    # On the 0..255 scale the smallest singular value of a chart's terms is 1.6e-8 of the largest:
    # float32, or a solver's usual cut-off (rcond), would give another matrix.
    solution, *_ = np.linalg.lstsq(terms(source)[:, used], target.astype(np.float64), rcond=0)
    matrix[:, used] = solution.T
    return matrix


def fit_near_identity(
    source: np.ndarray, target: np.ndarray, *, ridge: float, strength: float
) -> np.ndarray:
    """Fits as `fit` does, but held near the identity, for charts that were drawn at random.

    Args:
        source: f64[n,11], the terms of colors in [0,1].
        target: f64[n,3], the same patches in another light.
        ridge: weight of the squared distance to the identity.
        strength: the share of the way from the identity to the fit.

    Returns:
        f64[11,3].
    """
    identity = np.eye(TERMS, 3)
    correction = np.linalg.solve(
        source.T @ source + ridge * np.eye(TERMS), source.T @ (target - source @ identity)
    )
    matrix: np.ndarray = identity + strength * correction
    return matrix


def transform(colors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Applies a fitted matrix, [n,3] -> f64[n,3], neither clipped nor rounded."""
    moved: np.ndarray = terms(colors) @ matrix.T
    return moved


def transfer(
    pixels: np.ndarray,
    to_standard: np.ndarray,
    from_standard: np.ndarray,
    *,
    quantize_intermediate: bool = True,
) -> tuple[np.ndarray, float]:
    """Carries pixels from their own light to the standard one and on to another photograph's.

    Args:
        pixels: u8[n,3].
        to_standard: matrix of the photograph that the pixels are of.
        from_standard: reverse matrix of the photograph whose light they get.
        quantize_intermediate: whether the colors under the standard light are u8, as published.

    Returns:
        u8[n,3], and the share of values that the second step clips.
    """
    standard = np.clip(transform(pixels, to_standard), 0, 255)
    # Truncated in both steps: the published composites were, and are reproduced bit for bit.
    if quantize_intermediate:
        standard = quantize(standard, rounding="truncate")
    raw = transform(standard, from_standard)
    clipped = float(((raw < 0) | (raw > 255)).mean()) if raw.size else 0.0
    return quantize(raw, rounding="truncate"), clipped


def residual(source: np.ndarray, target: np.ndarray, matrix: np.ndarray) -> float:
    """Root mean square difference, over patches and channels, after the transform."""
    return float(np.sqrt(np.mean((transform(source, matrix) - target) ** 2)))

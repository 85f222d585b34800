"""Polynomial color matching between two lights, as ccHarmony was made.

Colors are on the 0..255 scale, float64 throughout: the smallest singular value of a chart's terms
is about 1.6e-8 of the largest, so float32, or a solver's usual cut-off, gives another matrix.

Source: specs/giftnet 5.2.
"""

import numpy as np

TERMS = 11
_LINEAR = (0, 1, 2, 10)  # R, G, B and the constant


def terms(colors: np.ndarray) -> np.ndarray:
    """[n,3] -> f64[n,11]: R G B RG RB GB R^2 G^2 B^2 RGB 1."""
    r, g, b = colors.astype(np.float64).T
    return np.stack(
        [r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, r * g * b, np.ones_like(r)], 1
    )


def fit(source: np.ndarray, target: np.ndarray, *, linear: bool = False) -> np.ndarray:
    """The matrix that carries the colors `source` closest to `target` in the least-squares sense.

    Args:
        source, target: [n,3] colors of the same patches.
        linear: use R, G, B and the constant only; the other columns are zero (a fallback for
            charts whose polynomial runs away between the patches).

    Returns:
        f64[3,11], of full rank: nothing is cut off.
    """
    used = list(_LINEAR) if linear else list(range(TERMS))
    matrix = np.zeros((3, TERMS))
    solution, *_ = np.linalg.lstsq(terms(source)[:, used], target.astype(np.float64), rcond=0)
    matrix[:, used] = solution.T
    return matrix


def transform(colors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """[n,3] -> f64[n,3], neither clipped nor rounded."""
    return terms(colors) @ matrix.T


def quantize(colors: np.ndarray) -> np.ndarray:
    """Clips to 0..255 and truncates to u8, as the published data were."""
    return np.clip(colors, 0, 255).astype(np.uint8)


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
    if quantize_intermediate:
        standard = standard.astype(np.uint8)
    raw = transform(standard, from_standard)
    clipped = float(((raw < 0) | (raw > 255)).mean()) if raw.size else 0.0
    return quantize(raw), clipped


def residual(source: np.ndarray, target: np.ndarray, matrix: np.ndarray) -> float:
    """Root mean square difference, over patches and channels, after the transform."""
    return float(np.sqrt(np.mean((transform(source, matrix) - target) ** 2)))

"""The bins of results by size of the foreground: [0, 5 %), [5 %, 15 %), [15 %, 100 %].

The size is the share of pixels with mask > 0.5. See docs/metrics.md, "Bins".
"""

import numpy as np

EDGES = (0.05, 0.15)
NAMES = ("0-5", "5-15", "15-100")


def foreground_ratio(mask: np.ndarray) -> np.ndarray:
    """Share of pixels with mask > 0.5: f32[b,h,w,1] -> f64[b]."""
    return (np.asarray(mask) > 0.5).mean(axis=(1, 2, 3), dtype=np.float64)


def bin_name(ratio: float) -> str:
    """The bin of a foreground ratio; an edge belongs to the bin above it."""
    return NAMES[sum(ratio >= edge for edge in EDGES)]

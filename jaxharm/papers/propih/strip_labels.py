"""Names above the panels of a strip of all stages."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxharm.images.bit_depth import from_unit, to_unit
from jaxharm.papers.propih.model import STAGES

LABELS = ("composite", "mask", "painting", *(f"stage {k}" for k in range(1, STAGES + 1)))


def with_labels(strip: np.ndarray) -> np.ndarray:
    """A strip [h,7w,3] with a band of text above it, in its dtype."""
    width = strip.shape[1] // len(LABELS)
    size = int(np.clip(width / 14, 8, 40))
    band = Image.new("L", (strip.shape[1], 2 * size), 255)
    draw, font = ImageDraw.Draw(band), ImageFont.load_default(size)
    for number, label in enumerate(LABELS):
        draw.text(((number + 0.5) * width, size), label, fill=0, font=font, anchor="mm")
    text = np.repeat(np.asarray(band)[..., None], 3, 2)
    return np.concatenate([from_unit(to_unit(text), strip.dtype), strip])

"""Generates pictures with colored patches and brush strokes, for use instead of paintings."""

from pathlib import Path

import cv2
import numpy as np

from data_pipelines.building.record_format import Record
from data_pipelines.reading import BuiltInfo
from data_pipelines.samples.stream import TEXTURE_TAG
from jaxharm.images.bit_depth import quantize

NAME = "textures"  # the value of data.paintings.name that selects them
_VERSION = 1  # of the recipe; part of the fingerprint that a run stores


class TextureSource:
    """Generated paintings with the interface of a built data set's; picklable."""

    def __init__(self, count: int, side: int) -> None:
        self._count = count
        self._side = side

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self._count:
            raise IndexError(f"texture {index} of {self._count}")
        image = texture(index, self._side)
        encoded = cv2.imencode(".bmp", image[..., ::-1])[
            1
        ]  # uncompressed, since it is decoded at once
        return {
            "style": encoded.tobytes(),
            "photo_id": f"texture{index}",
            "subset": NAME,
            "height": self._side,
            "width": self._side,
        }

    def __repr__(self) -> str:
        return f"TextureSource({self._count}, {self._side})"

    @property
    def info(self) -> BuiltInfo:
        """Their description, as that of a built data set."""
        mark = f"{NAME}-{_VERSION}-{self._side}"
        return BuiltInfo(NAME, Path(NAME), "painterly", {"train": self._count}, mark, {})


def texture(number: int, side: int) -> np.ndarray:
    """Generates the picture with a given number.

    Args:
        number: seeds the picture.
        side: of the square, in pixels.

    Returns:
        u8[side,side,3]: patches of a small palette under brush strokes that follow a flow field.
    """
    rng = np.random.default_rng((TEXTURE_TAG, number))
    palette = rng.integers(0, 256, (int(rng.integers(4, 9)), 3)).astype(np.float32)
    height = _noise(rng, side, int(rng.integers(3, 8)))
    place = height * (len(palette) - 1)
    low = np.minimum(place.astype(np.int64), len(palette) - 2)
    # The power makes the transitions between patches sharper or softer.
    share = (place - low)[..., None] ** float(rng.uniform(0.5, 4))
    patches = palette[low] * (1 - share) + palette[low + 1] * share
    image = _paint(quantize(patches), rng, side)
    grain = rng.normal(0, float(rng.uniform(0, 8)), (side, side, 1))
    return quantize(image + grain)


def _paint(image: np.ndarray, rng: np.random.Generator, side: int) -> np.ndarray:
    """Adds brush strokes, each in about the color of the pixel where it starts."""
    angle = 2 * np.pi * _noise(rng, side, 3)
    count = int(rng.integers(200, 900))
    length, width = rng.uniform(0.03, 0.12) * side, max(1, round(rng.uniform(0.004, 0.02) * side))
    starts = rng.integers(0, side, (count, 2))
    shifts = rng.normal(0, float(rng.uniform(5, 30)), (count, 3))
    painted = image.copy()
    for (x, y), shift in zip(starts.tolist(), shifts, strict=True):
        end = (
            round(x + length * float(np.cos(angle[y, x]))),
            round(y + length * float(np.sin(angle[y, x]))),
        )
        color = np.clip(image[y, x] + shift, 0, 255).tolist()
        cv2.line(painted, (x, y), end, color, width, cv2.LINE_AA)
    return painted


def _noise(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """Smooth noise f32[side,side] from 0 to 1."""
    coarse = rng.random((cells, cells)).astype(np.float32)
    # Cubic interpolation overshoots, so that the result is scaled back to 0..1.
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return (smooth - smooth.min()) / max(float(np.ptp(smooth)), 1e-6)

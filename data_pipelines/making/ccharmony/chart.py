"""Reads the 24 patches of a color chart from a photograph or a file.

Rows of every array of patch colors are in the order of `jaxharm.images.chart.PATCHES`: the gray row
of the chart from white to black, then the rows above it, each from left to right. The chart has
dark skin at the top left and white at the bottom left.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from data_pipelines.building.images import ImageProblem
from jaxharm.images.chart import COLUMNS, PATCHES, ROWS

_CORE = (0.25, 0.75)  # the part of a patch that is read, along either side: not its frame
_SAMPLES = 24  # number of pixels that are read along either side of that part
_MIN_SIDE = 4.0  # pixels; in a smaller patch, no pixel is free of its frame
_MAX_SATURATED = 0.05  # share of a patch's pixels that may be at the end of the scale


@dataclass(frozen=True)
class ChartPlace:
    """The position of the chart in a photograph, and the part of the photograph that is used.

    Attributes:
        corners: f64[4,2], (x, y) in pixels of the outer corners of the patches dark skin, bluish
            green, black and white: clockwise from the top left of an upright chart.
        crop: left, top, right, bottom in pixels of the part without the chart; None: all of it.
    """

    corners: np.ndarray
    crop: tuple[int, int, int, int] | None


def parse_place(text: bytes, where: str) -> ChartPlace:
    """Reads {"corners": [[x, y] x 4], "crop": [left, top, right, bottom]} (crop may be absent).

    Raises:
        ImageProblem: bad_chart, if it has another form.
    """
    try:
        values: Mapping[str, Any] = json.loads(text)
        corners = np.asarray(values["corners"], np.float64)
        crop = values.get("crop")
        box = None if crop is None else tuple(int(number) for number in crop)
    # Whatever stands there instead: other types, numbers without end, thousands of brackets.
    except Exception as error:
        raise ImageProblem("bad_chart", f"{where}: not a chart's place ({error!r})") from error
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise ImageProblem("bad_chart", f"{where}: corners must be four (x, y) pairs")
    if box is not None and (len(box) != 4 or not (0 <= box[0] < box[2] and 0 <= box[1] < box[3])):
        raise ImageProblem("bad_chart", f"{where}: crop {crop} is not [left, top, right, bottom]")
    return ChartPlace(corners, box)


def parse_colors(text: bytes, where: str) -> np.ndarray:
    """Reads measured patch colors: 24 lines of three comma-separated numbers, 0..255.

    Returns:
        f64[24,3].

    Raises:
        ImageProblem: bad_chart, naming the line or the missing patch.
    """
    colors = np.full((len(PATCHES), 3), np.nan)
    lines = [line for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    if len(lines) > len(PATCHES):
        raise ImageProblem("bad_chart", f"{where}: {len(lines)} lines, a chart has {len(PATCHES)}")
    for i, line in enumerate(lines):
        try:
            colors[i] = [float(number) for number in line.split(",")]
        except ValueError as error:
            raise ImageProblem("bad_chart", f"{where}:{i + 1}: {line[:60]!r}: {error}") from error
    missing = np.flatnonzero(~np.isfinite(colors).all(1))
    if missing.size:
        raise ImageProblem("bad_chart", f"{where}: patch {PATCHES[missing[0]]!r} is missing")
    if colors.min() < 0 or colors.max() > 255:
        raise ImageProblem("bad_chart", f"{where}: colors outside 0..255")
    return colors


def check_colors(colors: np.ndarray, where: str) -> None:
    """Refuses patch colors at the end of the scale, where the true color may have been clipped.

    Raises:
        ImageProblem: saturated_chart, naming the patch.
    """
    saturated = np.flatnonzero(colors.max(1) > 254.5)
    if saturated.size:
        name, color = PATCHES[saturated[0]], np.round(colors[saturated[0]], 1).tolist()
        raise ImageProblem("saturated_chart", f"{where}: patch {name!r} is {color}")


def measure(photo: np.ndarray, place: ChartPlace, where: str) -> np.ndarray:
    """Measures the mean color of the middle of every patch.

    Args:
        photo: u8[h,w,3].
        place: position of the chart.
        where: the photograph's name for messages.

    Returns:
        f64[24,3], 0..255.

    Raises:
        ImageProblem: bad_chart for a patch that is not wholly in the photograph or too small;
            saturated_chart for one with more than 5 % of its pixels at 255 in some channel.
    """
    # A perspective map of the flat chart, one unit per patch, so that tilted charts can be read.
    flat = np.array([[0, 0], [COLUMNS, 0], [COLUMNS, ROWS], [0, ROWS]], np.float32)
    matrix = cv2.getPerspectiveTransform(flat, place.corners.astype(np.float32))
    colors = np.empty((len(PATCHES), 3))
    for k, name in enumerate(PATCHES):
        # PATCHES begins with the bottom row of the chart.
        left, top = k % COLUMNS, ROWS - 1 - k // COLUMNS
        pixels = _patch_pixels(photo, matrix, left, top, f"{where}: patch {name!r}")
        share = float((pixels.max(1) == 255).mean())
        if share > _MAX_SATURATED:
            raise ImageProblem(
                "saturated_chart", f"{where}: {share:.0%} of patch {name!r} is at 255"
            )
        colors[k] = pixels.mean(0)
    return colors


def _patch_pixels(
    photo: np.ndarray, matrix: np.ndarray, left: int, top: int, where: str
) -> np.ndarray:
    """Pixels u8[n,3] in the middle of one patch, without interpolation: it hides saturation."""
    if _shorter_side(matrix, left, top) < _MIN_SIDE:
        raise ImageProblem("bad_chart", f"{where} is under {_MIN_SIDE:g} pixels")
    inside = np.linspace(*_CORE, _SAMPLES)
    grid = np.stack(np.meshgrid(left + inside, top + inside), -1).reshape(-1, 1, 2)
    points = cv2.perspectiveTransform(grid, matrix).reshape(-1, 2)
    x, y = np.rint(points).astype(int).T
    height, width = photo.shape[:2]
    if x.min() < 0 or y.min() < 0 or x.max() >= width or y.max() >= height:
        raise ImageProblem("bad_chart", f"{where} is outside the photograph")
    return photo[y, x]


def _shorter_side(matrix: np.ndarray, left: int, top: int) -> float:
    """The shorter of a patch's sides at its top left corner in the photograph, in pixels."""
    corner = np.array([[[left, top]], [[left + 1, top]], [[left, top + 1]]], np.float64)
    at, right, below = cv2.perspectiveTransform(corner, matrix).reshape(3, 2)
    return float(min(np.linalg.norm(right - at), np.linalg.norm(below - at)))

"""Reads a source folder: photographs with a color chart, their charts, masks and lists.

    <source>/photographs/<image>.jpg      charts/<image>.json or .csv      masks/<image>_<letter>.png
             train_list.txt  test_list.txt   one foreground id `<image>_<letter>` per line

A chart's .json gives its position and the part of the photograph that is used
(`chart.parse_place`); a .csv holds the 24 measured colors of a chart that was cropped away. Masks
have the size of the used part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipelines.building.files import FileIndex, locate, require_dir
from data_pipelines.building.images import (
    ImageProblem,
    check_mask,
    decode_mask,
    decode_rgb,
    read_header,
)
from data_pipelines.building.lists import read_ids
from data_pipelines.building.report import Report
from data_pipelines.datasets.ccharmony import PUBLISHED, image_of
from data_pipelines.making.ccharmony.chart import (
    ChartPlace,
    check_colors,
    measure,
    parse_colors,
    parse_place,
)
from jaxharm.images.chart import STANDARD
from jaxharm.images.polynomial import fit, residual

MAX_RESIDUAL = 40.0  # levels; published charts stay below 25, wrong corners give more
_MAX_MEGAPIXELS = 200.0


@dataclass(frozen=True)
class Foreground:
    """A listed foreground and its files."""

    name: str
    image: str
    split: str
    photograph: Path
    mask: Path


@dataclass(frozen=True)
class Light:
    """The light of one image, as two color conversions.

    Attributes:
        to_standard, from_standard: f64[3,11], polynomials to the standard light and from it.
        residuals: root mean square patch error of either, in levels; NaN if no colors were
            measured because the matrices were given.
        how: "polynomial", "linear" or "given".
        place: position of the chart, if it was read from the photograph.
    """

    to_standard: np.ndarray
    from_standard: np.ndarray
    residuals: tuple[float, float]
    how: str
    place: ChartPlace | None = None


Matrices = Mapping[str, tuple[np.ndarray, np.ndarray]]


def scan(source: Path, report: Report) -> list[Foreground]:
    """Lists the foregrounds that have a photograph and a mask; reports what is missing."""
    folders = [require_dir(source, report, name) for name in ("photographs", "masks")]
    lists = {split: source / f"{split}_list.txt" for split in PUBLISHED}
    for path in lists.values():
        if not path.is_file():
            report.error("missing_list", str(path))
    if None in folders or not all(path.is_file() for path in lists.values()):
        return []
    photographs, masks = (FileIndex(folder, source, report) for folder in folders if folder)
    split_of: dict[str, str] = {}
    found = []
    for split, path in lists.items():
        for name in read_ids(path, report):
            image = image_of(name)
            if image is None:
                report.error("bad_list_line", f"{path.name}: {name!r} is not <image>_<letter>")
                continue
            if split_of.setdefault(image, split) != split:
                report.error("split_overlap", f"image {image} in {split_of[image]} and {split}")
            photograph = locate(photographs, f"{image}.jpg", "missing_real", report)
            mask = locate(masks, f"{name}.png", "missing_mask", report)
            if photograph and mask:
                found.append(Foreground(name, image, split, photograph, mask))
    return found


def read_lights(
    source: Path,
    foregrounds: list[Foreground],
    given: Matrices,
    linear: frozenset[str],
    report: Report,
) -> dict[str, Light]:
    """Determines the light of every image; reports charts that cannot be read.

    Args:
        source: the source folder.
        foregrounds: their images are read.
        given: image id -> its two matrices, which are used instead of fitting.
        linear: ids of the images whose matrix to the standard light is fitted with linear terms.
        report: collects the faults.
    """
    lights = {}
    for image, photograph in {f.image: f.photograph for f in foregrounds}.items():
        with report.item(image):
            lights[image] = _light(source, image, photograph, given, image in linear)
    return lights


def _light(source: Path, image: str, photograph: Path, given: Matrices, linear: bool) -> Light:
    """The light of one image: given matrices, or fits to colors from a file or the photograph."""
    place, colors, where = None, None, photograph.name
    place_file, colors_file = (source / "charts" / f"{image}.{end}" for end in ("json", "csv"))
    if place_file.is_file():
        place = parse_place(place_file.read_bytes(), str(place_file))
    if colors_file.is_file():
        where = str(colors_file)
        colors = parse_colors(colors_file.read_bytes(), where)
    if image in given:
        forward, reverse = given[image]
        measured = (np.nan, np.nan) if colors is None else _residuals(colors, forward, reverse)
        return Light(forward, reverse, measured, "given", place)
    if colors is None and place is not None:  # colors from a file have precedence
        colors = measure(read_photograph(photograph), place, str(photograph))
    if colors is None:
        raise ImageProblem("missing_chart", f"{place_file} or {colors_file.name}")
    check_colors(colors, where)
    forward, reverse = fit(colors, STANDARD, linear=linear), fit(STANDARD, colors)
    measured = _residuals(colors, forward, reverse)
    if max(measured) > MAX_RESIDUAL:
        raise ImageProblem(
            "bad_chart", f"{where}: its colors miss a chart's by {max(measured):.0f} levels"
        )
    return Light(forward, reverse, measured, "linear" if linear else "polynomial", place)


def _residuals(colors: np.ndarray, forward: np.ndarray, reverse: np.ndarray) -> tuple[float, float]:
    return residual(colors, STANDARD, forward), residual(STANDARD, colors, reverse)


def read_photograph(path: Path) -> np.ndarray:
    """Reads a whole photograph and turns it upright: u8[h,w,3]."""
    header = read_header(path, is_mask=False, max_megapixels=_MAX_MEGAPIXELS)
    return decode_rgb(path, path.read_bytes(), orientation=header.orientation)


def read_used_part(foreground: Foreground, light: Light, report: Report) -> np.ndarray:
    """Reads the part of a foreground's photograph without the chart: u8[h,w,3]."""
    photo = read_photograph(foreground.photograph)
    if light.place is None:
        return photo
    left, top, right, bottom = light.place.crop or (0, 0, photo.shape[1], photo.shape[0])
    if right > photo.shape[1] or bottom > photo.shape[0]:
        size = f"{photo.shape[1]}x{photo.shape[0]}"
        raise ImageProblem(
            "bad_chart", f"{foreground.image}: the crop leaves the {size} photograph"
        )
    x, y = light.place.corners.mean(0)
    if left <= x < right and top <= y < bottom:
        report.warn("chart_in_view", foreground.image)
    return photo[top:bottom, left:right]


def read_foreground_mask(foreground: Foreground, size: tuple[int, ...]) -> np.ndarray:
    """Reads a mask u8[h,w]; ImageProblem unless it has this size, foreground and background."""
    read_header(foreground.mask, is_mask=True, max_megapixels=_MAX_MEGAPIXELS)
    mask = decode_mask(foreground.mask, foreground.mask.read_bytes()).pixels
    if mask.shape != size:
        sizes = f"used part {size[1]}x{size[0]}, mask {mask.shape[1]}x{mask.shape[0]}"
        raise ImageProblem("size_mismatch", f"{foreground.name}: {sizes}")
    check_mask(foreground.mask, mask)
    return mask

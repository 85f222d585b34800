"""Reads COCO's annotations: selects objects and draws masks with one gray level for each.

Selected are instances that are no crowds and cover 5 to 30 % of their image, at most 255 per image
in the order of the file.

Source: docs/data.md, "Layouts".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_masks

from data_pipelines.building.lists import is_unsafe
from data_pipelines.building.report import Report, reason_of
from jaxharm.images import read_file

AREA_BAND = (0.05, 0.3)  # share of the image, ends included
MAX_LEVELS = 255
_MAX_COORDINATE = 1e5  # pixels
_MAX_PIXELS = 2**28  # of an image: a mask of the size that the file says is drawn
Segmentation = list[list[float]] | Mapping[str, Any]
ImageId = int | str


class SegmentationError(ValueError):
    """A segmentation that is neither polygons nor a run-length code of its image."""


@dataclass(frozen=True)
class Drawing:
    """The selected objects of a photograph.

    Attributes:
        size: (height, width) of the photograph.
        segmentations: polygons or run-length codes, as they are in the file.
    """

    size: tuple[int, int]
    segmentations: tuple[Segmentation, ...]

    def levels(self) -> np.ndarray:
        """Draws all objects: u8[h,w], level i + 1 for object i; later objects cover earlier ones."""
        levels = np.zeros(self.size, np.uint8)
        for level, segmentation in enumerate(self.segmentations, 1):
            levels[draw(segmentation, self.size)] = level
        return levels


def read_annotations(path: Path, report: Report) -> list[tuple[str, Drawing]]:
    """Reads the photographs of an annotation file that have a selected object, in its order.

    Returns:
        File names with the objects to draw; faults of the file go to the report.
    """
    try:
        content = json.loads(read_file(path))
        entries, annotations = list(content["images"]), list(content["annotations"])
    # A file of another kind may be anything, also brackets so deep that the parser gives up.
    except Exception as error:
        report.error("bad_annotation_file", f"{path}: {reason_of(error)}")
        return []
    images = _images(entries, path, report)
    selected = _select(images, annotations, path, report)
    found = []
    for key, image in images.items():
        if key not in selected:
            continue
        name = _bare_name(str(image.get("file_name", "")))
        if not name or "/" in name or is_unsafe(name):
            text = f"{path.name}: image {key} has file_name {image.get('file_name')!r}"
            report.error("path_traversal" if ".." in name.split("/") else "bad_file_name", text)
        else:
            found.append((name, Drawing(_size(image), tuple(selected[key][:MAX_LEVELS]))))
    return found


def _bare_name(name: str) -> str:
    """A file name without the folder of the split, which some tools write before it."""
    parts = name.replace("\\", "/").split("/")
    inner = len(parts) > 1 and parts[0] and not {"", ".", ".."} & set(parts)
    return parts[-1] if inner and not is_unsafe(parts[0]) else "/".join(parts)


def _images(entries: Sequence[Any], path: Path, report: Report) -> dict[ImageId, Mapping[str, Any]]:
    """The entries of images by id; what is none is reported."""
    images: dict[ImageId, Mapping[str, Any]] = {}
    for number, image in enumerate(entries):
        try:
            images[image["id"]] = image
        except (KeyError, TypeError) as error:
            text = f"{path.name}, entry {number} of images: {reason_of(error)}"
            report.error("bad_annotations", text)
    return images


def _select(
    images: Mapping[ImageId, Mapping[str, Any]],
    annotations: Sequence[Any],
    path: Path,
    report: Report,
) -> dict[ImageId, list[Segmentation]]:
    """The segmentations of the selected objects of each image."""
    selected: dict[ImageId, list[Segmentation]] = {}
    for annotation in annotations:
        try:
            image = images[annotation["image_id"]]
            if annotation.get("iscrowd", 0):
                continue
            segmentation, size = annotation["segmentation"], _size(image)
            check_segmentation(segmentation, size)
            if _is_selected(annotation.get("area"), segmentation, size):
                selected.setdefault(image["id"], []).append(segmentation)
        # Whatever a tool wrote in its place: one object of many is left out and counted.
        except Exception as error:
            why = error if isinstance(error, SegmentationError) else reason_of(error)
            known = annotation.get("id") if isinstance(annotation, dict) else None
            name = "without id" if known is None else known
            report.error("bad_annotations", f"{path.name}, annotation {name}: {why}")
    if not selected:
        low, high = AREA_BAND
        report.error(
            "no_instances",
            f"{path}: none of {len(annotations)} annotations is an instance that covers {low:.0%} "
            f"to {high:.0%} of its image",
        )
    return selected


def draw(segmentation: Segmentation, size: tuple[int, int]) -> np.ndarray:
    """Draws the mask bool[h,w] of an instance, as COCO's own tool does.

    Raises:
        SegmentationError: a run-length code is damaged, or its runs do not add up to the image.
    """
    if isinstance(segmentation, Mapping):
        return _decode_runs(segmentation, size)
    return coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(segmentation, *size))).astype(
        bool
    )


def check_segmentation(segmentation: Any, size: tuple[int, int]) -> None:
    """Raises SegmentationError unless it is polygons of at least 3 points, or runs of `size`."""
    if not 0 < size[0] * size[1] <= _MAX_PIXELS:
        raise SegmentationError(f"its image is said to have {size[1]}x{size[0]} pixels")
    if isinstance(segmentation, Mapping):
        if [int(side) for side in segmentation["size"]] != list(size):
            raise SegmentationError(
                f"its run-length code is of {segmentation['size']}, the image of {list(size)}"
            )
        _decode_runs(segmentation, size)
        return
    if not isinstance(segmentation, list) or not segmentation:
        raise SegmentationError("its segmentation is neither polygons nor a run-length code")
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise SegmentationError("one of its polygons has not x and y of at least 3 points")
        points = np.array(polygon, np.float64)
        if not np.isfinite(points).all():
            raise SegmentationError("one of its polygons has a point that is not finite")
        # The memory and time of pycocotools grow with the length of the edges, without a limit.
        if np.abs(points).max() > _MAX_COORDINATE:
            raise SegmentationError("one of its polygons has a point far outside of the image")


def _is_selected(area: Any, segmentation: Segmentation, size: tuple[int, int]) -> bool:
    if not isinstance(area, int | float):  # files of other tools leave it out
        area = int(draw(segmentation, size).sum())
    low, high = AREA_BAND
    return low <= area / (size[0] * size[1]) <= high


def _decode_runs(code: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    counts = code["counts"]
    runs = _unpack(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=-1) < 0 or sum(runs) != size[0] * size[1]:
        raise SegmentationError(f"its runs do not add up to the {size[0] * size[1]} pixels")
    # Column by column, background first. Not by pycocotools: it writes past the end of a mask where a
    # file's runs are too long, and fills with background where they are too short.
    object_runs = np.arange(len(runs)) % 2 == 1
    return np.repeat(object_runs, runs).reshape(size[::-1]).T


def _unpack(counts: str) -> list[int]:
    """The runs of COCO's packed form: characters of 5 bits, low bits first, and a sixth that says that
    the number goes on; from the fourth run on, the difference from the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64 or shift > 60:
            raise SegmentationError(f"its run-length code has no run at {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise SegmentationError("its run-length code ends within a run")
    return runs


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    return int(image["height"]), int(image["width"])

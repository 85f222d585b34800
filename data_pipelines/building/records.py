"""Makes the stored record of an item: its files, checked and upright, else copied unchanged."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.building.images import (
    FOREGROUND,
    Header,
    ImageProblem,
    check_mask,
    color_problem,
    decode_mask,
    decode_rgb,
    hides_pixels,
    lies_as_seen,
    looks_inverted,
    oriented_size,
    read_header,
    shared_orientations,
)
from data_pipelines.building.items import Item
from data_pipelines.building.report import Report, reason_of

_CHECK_PIXELS = 2_000_000  # larger images are reduced for the check for inverted masks
_ABSENT = {role: f"missing_{role}" for role in ("composite", "real", "mask", "background")}


@dataclass(frozen=True)
class Limits:
    """The sizes that a build accepts and stores.

    Attributes:
        max_side: longest side of a stored image; larger ones are scaled down. 0: never.
        max_megapixels: larger files are refused.
    """

    max_side: int = 0
    max_megapixels: float = 200.0


class HeaderCheck:
    """Checks the headers of all files before a build; reads every file once and no pixels."""

    def __init__(self, report: Report, limits: Limits) -> None:
        self._report = report
        self._limits = limits
        self._known: dict[Path, Header | ImageProblem] = {}

    def passes(self, item: Item) -> bool:
        """Checks the headers of an item's files; reports faults and returns whether there are none."""
        headers: dict[str, Header] = {}
        problems: list[ImageProblem] = []
        for role, path in item.files.items():
            header = self._header(path, role)
            if isinstance(header, ImageProblem):
                problems.append(header)
            else:
                headers[role] = header
        if item.drawing and not problems and headers["real"].size != item.drawing.size:
            stored, drawn = (
                "{1}x{0}".format(*s) for s in (headers["real"].size, item.drawing.size)
            )
            text = f"{item}: image {stored}, annotated as {drawn}"
            problems.append(ImageProblem("size_mismatch", text))
        if not problems:
            try:
                self._warn_of(item, headers, shared_orientations(headers))
            except ImageProblem as problem:
                problems.append(ImageProblem(problem.kind, f"{item}: {problem}"))
        for found in problems:
            self._report.error(found.kind, str(found))
        return not problems

    def _warn_of(self, item: Item, headers: dict[str, Header], turns: dict[str, int]) -> None:
        """Warns of what headers cannot decide, or what records do not keep."""
        photos = {role: header for role, header in headers.items() if role != "mask"}
        problem = color_problem(photos)
        if problem:
            self._report.warn("color_profile", f"{item}: {problem}")
        if "mask" in headers and lies_as_seen(headers, turns):
            self._report.warn("turned_photo", f"{item}: mask {item.mask}")

    def _header(self, path: Path, role: str) -> Header | ImageProblem:
        if path not in self._known:
            try:
                self._known[path] = read_header(
                    path, is_mask=role == "mask", max_megapixels=self._limits.max_megapixels
                )
            except ImageProblem as problem:
                self._known[path] = problem
            # Decoders are foreign, and raise what nobody foresaw.
            except Exception as error:
                text = f"{path}: {reason_of(error)}"
                self._known[path] = ImageProblem("unreadable_image", text)
        return self._known[path]


@dataclass
class _Photo:
    """A photograph's bytes to store, and its pixels, possibly decoded at a fraction of its size."""

    stored: bytes
    pixels: np.ndarray


@dataclass
class _Mask:
    """A mask's bytes to store, its pixels, its share of foreground and whether it is binary."""

    stored: bytes
    pixels: np.ndarray
    share: float
    binary: bool


_PhotoKey = tuple[Path, int, tuple[int, int], int]  # path, orientation, size, reduction
_MaskKey = tuple[Path, int, tuple[int, int]]  # path, orientation, size


class RecordLoader:
    """Reads, decodes and checks all files of an item.

    The last file of every role is remembered: composites of one photograph follow each other in
    the lists, so its photograph and mask are decoded once.

    Args:
        report: collects the faults.
        limits: sizes that are refused or scaled down.
        soft_masks: keeps soft values of masks that are scaled down or stored as JPEG; otherwise
            such masks are made binary, since their soft values are artifacts.
    """

    def __init__(self, report: Report, limits: Limits, *, soft_masks: bool = False) -> None:
        self._report = report
        self._limits = limits
        self._soft_masks = soft_masks
        self._last_photos: dict[str, tuple[_PhotoKey, _Photo]] = {}
        self._last_mask: tuple[_MaskKey, _Mask] | None = None
        self._noted: set[Path] = set()
        self._inverted: set[Path | None] = set()

    def load(self, item: Item) -> dict[str, Any] | None:
        """Makes the record of an item (keys: `reading.RecordSource`); None if it is unusable.

        Faults go to the report.
        """
        with self._report.item(str(item)):
            # Deleted since the tree was scanned, perhaps.
            gone = {role: path for role, path in item.files.items() if not path.exists()}
            if not gone:
                return self._load(item)
            for role, path in gone.items():
                self._report.error(_ABSENT[role], str(path))
        return None

    def _load(self, item: Item) -> dict[str, Any]:
        assert item.mask is not None, "items of this kind have masks"
        headers = {
            role: read_header(
                path, is_mask=role == "mask", max_megapixels=self._limits.max_megapixels
            )
            for role, path in item.files.items()
        }
        try:
            turns = shared_orientations(headers)
        except ImageProblem as problem:
            raise ImageProblem(problem.kind, f"{item}: {problem}") from problem
        native = oriented_size(headers["mask"].size, turns["mask"])
        size = limited_size(native, self._limits.max_side)
        # Files that are copied unchanged are decoded for checks only, so a reduced decode is enough.
        copied = size == native and all(headers[r].plain and turns[r] == 1 for r in headers)
        reduce = _reduction(native) if copied else 1
        mask = self._mask(item.mask, headers["mask"], turns["mask"], size)
        photos = {
            role: self._photo(role, path, headers[role], turns[role], size, reduce)
            for role, path in item.files.items()
            if role != "mask"
        }
        if item.composite is not None:
            self._check_inverted(item, photos["composite"], photos["real"], mask)
        record: dict[str, Any] = {role: photo.stored for role, photo in photos.items()}
        if item.composite is None:
            record["photo_id"] = item.real_id
        else:
            ids = {key: getattr(item, key) for key in ("composite_id", "mask_id", "real_id")}
            record.update(ids)
        return record | {
            "mask": mask.stored,
            "subset": item.subset,
            "height": size[0],
            "width": size[1],
            "fg_ratio": mask.share,
            "mask_is_binary": mask.binary,
        }

    def _photo(
        self,
        role: str,
        path: Path,
        header: Header,
        turn: int,
        size: tuple[int, int],
        reduce: int,
    ) -> _Photo:
        key = (path, turn, size, reduce)
        last = self._last_photos.get(role)
        if last is None or last[0] != key:
            data = path.read_bytes()
            pixels = decode_rgb(path, data, orientation=turn, reduce=reduce)
            resized = oriented_size(header.size, turn) != size
            if resized or turn != 1:
                image = Image.fromarray(pixels)
                if resized:
                    image = image.resize(size[::-1], Image.Resampling.BILINEAR)
                # A turned PNG loses nothing; a scaled image has lost detail already, and PNGs of
                # photographs would be several times as large.
                lossless = header.format == "PNG" and not resized
                data, pixels = _encoded(image, lossless=lossless), np.asarray(image)
            elif not header.plain:
                if hides_pixels(path, data):
                    self._report.warn("transparent_image", str(path))
                data = _encoded(Image.fromarray(pixels), lossless=True)
            last = self._last_photos[role] = (key, _Photo(data, pixels))
        return last[1]

    def _mask(self, path: Path, header: Header, turn: int, size: tuple[int, int]) -> _Mask:
        key = (path, turn, size)
        if self._last_mask is None or self._last_mask[0] != key:
            data = path.read_bytes()
            mask = decode_mask(path, data, orientation=turn)
            pixels = mask.pixels
            self._note(path, mask.notes)
            share, binary = check_mask(path, pixels)
            resized = pixels.shape != size
            if resized:
                image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
                pixels = np.asarray(image)
            # JPEG surrounds the edge of a binary mask with values near 0 and 255, and scaling
            # makes the edge soft: neither is a statement about how opaque the object is.
            if (resized or header.format != "PNG") and not self._soft_masks:
                pixels = np.where(pixels >= FOREGROUND, np.uint8(255), np.uint8(0))
            if resized or turn != 1 or mask.notes or not header.plain:
                # Scaling down spreads soft edges over a small mask, so the limit on soft values
                # applies to the native mask only.
                soft = self._soft_masks and not np.isin(pixels, (0, 255)).all()
                binary = not soft and check_mask(path, pixels)[1]
                data = _encoded(Image.fromarray(pixels), lossless=True)
            self._last_mask = (key, _Mask(data, pixels, share, binary))
        return self._last_mask[1]

    def _note(self, path: Path, notes: tuple[str, ...]) -> None:
        """Warns once per mask of what was understood otherwise than it is written."""
        if notes and path not in self._noted:
            self._noted.add(path)
            self._report.warn("unusual_mask", f"{path} {'; '.join(notes)}")

    def _check_inverted(self, item: Item, composite: _Photo, real: _Photo, mask: _Mask) -> None:
        """Warns once per mask if the composite differs from the photograph outside it only."""
        if composite.pixels.shape != real.pixels.shape or item.mask in self._inverted:
            return
        step = -(-mask.pixels.shape[0] // real.pixels.shape[0])
        small = mask.pixels[::step, ::step]
        if small.shape != real.pixels.shape[:2]:
            return  # one of the two formats cannot be decoded at a fraction of its size
        if looks_inverted(composite.pixels, real.pixels, small):
            self._inverted.add(item.mask)
            self._report.warn("inverted_mask", str(item.mask))


def _reduction(size: tuple[int, int]) -> int:
    """The smallest of 1, 2, 4, 8 by which both sides are divided to get _CHECK_PIXELS or fewer."""
    reduce = 1
    while size[0] * size[1] > _CHECK_PIXELS * reduce**2 and reduce < 8:
        reduce *= 2
    return reduce


def limited_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Scales (height, width) so that the longer side is at most `max_side` (0: no limit)."""
    if not max_side or max(size) <= max_side:
        return size
    scale = max_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _encoded(image: Image.Image, *, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()

"""Checks image files: their headers before a build, their pixels while records are written."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from jaxharm.images.codec import decode_bytes
from jaxharm.images.decoded import DamagedError, Decoded, turned
from jaxharm.images.masks import LabelsError, raw_values, to_bytes, understand
from jaxharm.images.spaces import space_of

# MPO is a JPEG file that holds further pictures, as some cameras write them; the first one is read.
_FORMATS = {".jpg": ("JPEG", "MPO"), ".jpeg": ("JPEG", "MPO"), ".png": ("PNG",)}
_RGB_MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
_MASK_MODES = (*_RGB_MODES, "I;16", "I;16B", "I;16L", "I")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FOREGROUND = 128  # an 8-bit mask value from here on counts as foreground
MAX_SOFT_SHARE = 0.1  # of pixels with a value strictly between 16 and 239


class ImageProblem(Exception):
    """A fault of one image file; `kind` is a key of `findings.KINDS`."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Header:
    """What is known of an image file from its header.

    Attributes:
        size: stored (height, width), before the EXIF orientation.
        orientation: EXIF orientation, 1 if there is none.
        profile: the color profile, or None (sRGB).
        plain: an 8-bit image with exactly the channels that a record stores (RGB, or gray for a
            mask), so that its bytes can be copied.
    """

    format: str
    size: tuple[int, int]
    orientation: int
    plain: bool
    profile: bytes | None = None


@contextlib.contextmanager
def _without_pixel_guard() -> Iterator[None]:
    """Turns Pillow's pixel limit off: `max_megapixels` is checked instead, with its own message."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_header(path: Path, *, is_mask: bool, max_megapixels: float) -> Header:
    """Reads and checks the header of an image file.

    Raises:
        ImageProblem: of kind unreadable_image, bad_channels or too_large.
    """
    try:
        if path.stat().st_size == 0:
            raise ImageProblem("unreadable_image", f"{path}: zero bytes")
        with _without_pixel_guard(), Image.open(path) as image:
            header = _checked_header(path, image, is_mask)
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageProblem("unreadable_image", f"{path}: {error}") from error
    height, width = header.size
    if height * width > max_megapixels * 1e6:
        raise ImageProblem(
            "too_large", f"{path}: {width}x{height} pixels, more than {max_megapixels:g} million"
        )
    return header


def _checked_header(path: Path, image: Image.Image, is_mask: bool) -> Header:
    if image.format not in _FORMATS[path.suffix.lower()]:
        raise ImageProblem(
            "unreadable_image", f"{path}: holds a {image.format} image, not what its ending says"
        )
    depth = _png_bit_depth(path) if image.format == "PNG" else 8
    modes = _MASK_MODES if is_mask else _RGB_MODES
    if image.mode not in modes or (depth > 8 and not is_mask):
        what = f"{image.mode}, {depth} bits" if image.format == "PNG" else image.mode
        raise ImageProblem("bad_channels", f"{path}: {what} per channel")
    plain = image.mode == ("L" if is_mask else "RGB") and depth == 8
    # A PNG may declare one of its colors transparent, and some decoders then return four channels.
    plain = plain and "transparency" not in image.info
    if is_mask:
        plain = plain and image.format == "PNG"
    size, turn = (image.height, image.width), _exif_orientation(image)
    profile = None if is_mask else image.info.get("icc_profile")
    return Header(str(image.format), size, turn, plain, profile)


def _png_bit_depth(path: Path) -> int:
    """The bit depth in a PNG's header, byte 24; Pillow reduces 16-bit color to 8 bits silently."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _exif_orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return 1  # the pixels may be sound although the EXIF block is not
    return orientation if orientation in range(1, 9) else 1


def shared_orientations(headers: dict[str, Header]) -> dict[str, int]:
    """Decides by which EXIF orientation each file of an item is turned.

    Each file is turned by its own orientation. A mask without one is turned like the photographs
    only where its size says that it was drawn on their unturned pixels: they agree, exchange their
    sides, and it has their stored size. Any other lies as it is seen, as in `jaxharm.images.masks`.

    Raises:
        ImageProblem: size_mismatch, if the sizes after turning differ.

    Source: docs/data.md, "Checks".
    """
    applied = {role: header.orientation for role, header in headers.items()}
    photos = {applied[role] for role in headers if role != "mask"}
    stored = {headers[role].size for role in headers}
    if applied.get("mask") == 1 and len(photos) == 1 and len(stored) == 1:
        (turn,), (size,) = photos, stored
        applied["mask"] = turn if turn >= 5 and size[0] != size[1] else 1
    sizes = {role: oriented_size(headers[role].size, applied[role]) for role in headers}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{role} {w}x{h}" for role, (h, w) in sizes.items())
        raise ImageProblem("size_mismatch", shown)
    return applied


def lies_as_seen(headers: dict[str, Header], applied: dict[str, int]) -> bool:
    """Whether photographs are turned and the mask is not, so that only its maker knows if rightly."""
    turns = [turn for role, turn in applied.items() if role != "mask"]
    return applied.get("mask") == 1 == headers["mask"].orientation and max(turns) > 1


def color_problem(headers: dict[str, Header]) -> str | None:
    """What is wrong with the color profiles of an item's photographs, whose numbers are stored."""
    spaces = {}
    for role, header in headers.items():
        try:
            spaces[role] = space_of(header.profile)
        except DamagedError as error:
            return f"{role}: {error}"
    names = [role for role, space in spaces.items() if space is not None]
    return f"{', '.join(names)} not in sRGB" if names else None


def oriented_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) after an EXIF orientation is applied; 5 to 8 exchange the sides."""
    return size[::-1] if orientation >= 5 else size


def decode_rgb(path: Path, data: bytes, *, orientation: int = 1, reduce: int = 1) -> np.ndarray:
    """Decodes a photograph to RGB, turned upright.

    Args:
        data: the file's bytes.
        orientation: EXIF orientation to apply.
        reduce: 2, 4 or 8 lets a JPEG be decoded at that fraction of its size (for checks only).

    Returns:
        u8[h,w,3] RGB; h and w are divided by `reduce` (rounded up) where the decoder could.

    Raises:
        ImageProblem: unreadable_image, if the file is truncated or damaged.
    """
    with _decoding(path, data) as image:
        if reduce > 1:
            image.draft(None, (image.width // reduce, image.height // reduce))
        image.load()
        return np.asarray(_turn(image.convert("RGB"), orientation))


@dataclass(frozen=True)
class Mask:
    """A decoded mask: u8[h,w], and what was understood otherwise than it is written."""

    pixels: np.ndarray
    notes: tuple[str, ...]


def decode_mask(path: Path, data: bytes, *, orientation: int = 1) -> Mask:
    """Decodes a mask of any accepted kind by the rules of `jaxharm.images.masks`.

    Args:
        path: for messages.
        data: the file's bytes.
        orientation: EXIF orientation to apply to a mask that has none of its own.

    Raises:
        ImageProblem: unreadable_image; nonbinary_mask where it has labels of several objects.
    """
    try:
        found = understand(_decoded(path, data, orientation))
    except LabelsError as error:
        raise ImageProblem("nonbinary_mask", f"{path} {error}") from None
    labels = ("has the values 0 and 1, scaled by 255",) if found.were_labels else ()
    return Mask(np.ascontiguousarray(to_bytes(found.values)), (*found.notes, *labels))


def decode_levels(path: Path, data: bytes, *, orientation: int = 1) -> np.ndarray:
    """Decodes a mask of several objects to u8[h,w], one level per object; as `decode_mask`."""
    return np.ascontiguousarray(to_bytes(raw_values(_decoded(path, data, orientation))))


def _decoded(path: Path, data: bytes, orientation: int) -> Decoded:
    try:
        decoded, _ = decode_bytes(data)
    except DamagedError as error:
        raise ImageProblem("unreadable_image", f"{path}: {error}") from None
    return decoded if decoded.orientation != 1 else turned(decoded, orientation)


def hides_pixels(path: Path, data: bytes) -> bool:
    """Whether a photograph has transparent pixels."""
    with _decoding(path, data) as image:
        if "A" not in image.getbands() and "transparency" not in image.info:
            return False
        return bool(np.asarray(image.convert("RGBA"))[..., 3].min() < 255)


@contextlib.contextmanager
def _decoding(path: Path, data: bytes) -> Iterator[Image.Image]:
    try:
        with _without_pixel_guard(), Image.open(io.BytesIO(data)) as image:
            yield image
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageProblem("unreadable_image", f"{path}: {error}") from error


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    return image if orientation == 1 else image.transpose(_TURNS[orientation])


def check_mask(path: Path, mask: np.ndarray) -> tuple[float, bool]:
    """Checks that an 8-bit mask has foreground and background and is nearly binary.

    Returns:
        Share of foreground pixels (128 or more), and whether all values are 0 or 255.

    Raises:
        ImageProblem: empty_mask, full_mask or nonbinary_mask.

    Source: docs/data.md, "Checks".
    """
    counts = np.bincount(mask.ravel(), minlength=256)
    share = float(counts[FOREGROUND:].sum() / mask.size)
    if share in (0.0, 1.0):
        raise ImageProblem(
            "empty_mask" if share == 0 else "full_mask", f"{path}: foreground ratio {share:.4f}"
        )
    soft = counts[17:239].sum() / mask.size
    if soft > MAX_SOFT_SHARE:
        raise ImageProblem(
            "nonbinary_mask",
            f"{path}: values 0-16 {counts[:17].sum() / mask.size:.0%}, 17-238 {soft:.0%}, "
            f"239-255 {counts[239:].sum() / mask.size:.0%}",
        )
    return share, bool(counts[1:255].sum() == 0)


def looks_inverted(composite: np.ndarray, real: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the images differ outside the mask (by more than 5) and hardly inside it.

    Args:
        composite, real: u8[h,w,3].
        mask: u8[h,w]; has foreground and background.
    """
    difference = np.abs(composite.astype(np.int16) - real).mean(-1)
    inside = mask >= FOREGROUND
    if not inside.any() or inside.all():
        return False
    within, without = difference[inside].mean(), difference[~inside].mean()
    # JPEGs of different quality differ by a few levels everywhere, so the share decides.
    return bool(without > 5 and within < max(1.0, 0.2 * without))

"""Reading and writing images: bit depth, alpha, color profile, resolution, copyright survive.

What a file is, its first bytes say, and one reader knows each format at every depth: `tiff`
(tifffile with imagecodecs), `png` (imagecodecs for 16 bits, Pillow for 8), `eight_bit` (Pillow: JPEG,
WebP and others). What none of them understands is refused by name. Pixels are never converted between
color spaces here: the profile is returned and written again; `spaces` converts.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images import eight_bit, png, spaces, tiff
from jaxharm.images.decoded import DamagedError, Decoded, Tags, turned
from jaxharm.images.files import read_file, write_whole

# The formats without loss come first: of two files of one name the first of them is taken.
READ_SUFFIXES = (
    *(".png", ".apng", ".tif", ".tiff", ".bmp", ".dib", ".tga", ".qoi"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".webp", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    *(".avif", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif"),
)
_WRITE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp")
_DEEP_SUFFIXES = (".png", ".tif", ".tiff")
_LONGEST = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # sides that the encoders accept
_ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp")
_TIFF_SUFFIXES = (".tif", ".tiff")
# How files begin that nothing here reads.
_OTHERS = (
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"%PDF", "a PDF document"),
    (b"<svg", "an SVG drawing"),
)


@dataclass(frozen=True)
class ImageFile:
    """A decoded image.

    Attributes:
        pixels: u8 or u16 [h,w,3] RGB or [h,w,4] RGBA, upright (EXIF orientation applied), not
            premultiplied.
        tags: what the file says about them.
        orientation: the EXIF orientation that was applied; 1: none.
        name: of the file, for messages.
    """

    pixels: np.ndarray
    tags: Tags = field(default_factory=Tags)
    orientation: int = 1
    name: str = "the picture"

    @property
    def space(self) -> spaces.Space | None:
        """The color space of the pixels; None: sRGB. InputError where its profile cannot be used."""
        try:
            return spaces.space_of(self.tags.icc_profile)
        except DamagedError as error:
            raise InputError(f"cannot use {self.name}: {error}") from None

    @property
    def icc_profile(self) -> bytes | None:
        """The profile of the pixels' color space; None: sRGB."""
        return self.tags.icc_profile


ImageLike: TypeAlias = np.ndarray | str | os.PathLike[str] | ImageFile


def as_picture(image: ImageLike) -> ImageFile:
    """A picture that a caller gives: an array, which is sRGB; a file to be read; or one that is read."""
    if isinstance(image, ImageFile):
        return image
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    return ImageFile(np.asarray(image))


def read_image(path: str | os.PathLike[str]) -> ImageFile:
    """Reads gray, palette, RGB or RGBA in 8 or 16 bits; gray and palette become RGB.

    Warns of a color profile that is dropped because it is damaged or of another kind of picture.

    Raises:
        InputError: no such file, truncated, not an image, or of a kind that is not supported (such
            as CMYK, Lab, floating point, high dynamic range).
    """
    return _as_image(decode_file(Path(path), profile=True), str(path))


def read_image_bytes(data: bytes, name: str) -> ImageFile:
    """As `read_image`, of a file's content; `name` stands for it in messages."""
    return _as_image(decode_content(data, name, profile=True), name)


def _as_image(decoded: Decoded, name: str) -> ImageFile:
    pixels = decoded.pixels
    if pixels.shape[2] <= 2:
        gray, alpha = pixels[..., :1], pixels[..., 1:]
        pixels = np.concatenate([gray, gray, gray, alpha], axis=2)
    if decoded.frames > 1:
        warnings.warn(f"{name} holds {decoded.frames} pictures; the first is used", stacklevel=3)
    return ImageFile(pixels, decoded.tags, decoded.orientation, name)


def write_image(path: str | os.PathLike[str], pixels: np.ndarray, tags: Tags | None = None) -> None:
    """Writes u8 or u16 [h,w,1|3|4] in the format of the suffix, whole or not at all.

    The file appears under its name only when it is complete. PNG, TIFF, WebP and BMP are written
    without loss; JPEG at quality 95 without chroma subsampling. BMP holds no profile.

    Raises:
        InputError: the suffix cannot hold the pixels, or the folder is not writable.
    """
    write_whole(path, *encode_image(path, pixels, tags or Tags()))


def encode_image(
    path: str | os.PathLike[str], pixels: np.ndarray, tags: Tags
) -> Sequence[bytes | memoryview]:
    """What `write_image` writes, in parts; InputError as there."""
    path = Path(path)
    check_output(path, dtype=pixels.dtype, channels=pixels.shape[2], size=pixels.shape[:2])
    suffix = path.suffix.lower()
    if suffix == ".bmp" and tags.icc_profile is not None:
        warnings.warn(
            f"{path}: BMP holds no color profile, so its colors will be shown as sRGB; "
            "use .png or .tif",
            stacklevel=2,
        )
    try:
        if suffix in _TIFF_SUFFIXES:
            return [tiff.encode(pixels, tags)]
        if pixels.dtype == np.uint16:
            return png.encode16(pixels, tags)
        return [eight_bit.encode(pixels, suffix, tags)]
    except DamagedError as error:
        raise InputError(f"cannot write {path}: {error}") from None


def check_output(
    path: str | os.PathLike[str],
    *,
    dtype: np.dtype | type | None = None,
    channels: int = 3,
    size: tuple[int, ...] = (0, 0),
) -> None:
    """Raises InputError if the suffix of `path` is unknown or cannot hold such pixels.

    Args:
        path: where the picture shall be written.
        dtype, channels: of its pixels, where they are known.
        size: (height, width), where they are known.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITE_SUFFIXES:
        raise InputError(
            f"cannot write {path}: unknown suffix {suffix!r}; use one of {', '.join(_WRITE_SUFFIXES)}"
        )
    if dtype is not None and np.dtype(dtype) not in (np.uint8, np.uint16):
        raise InputError(f"cannot write {path}: pixels are {np.dtype(dtype)}, not uint8 or uint16")
    if dtype is not None and np.dtype(dtype) == np.uint16 and suffix not in _DEEP_SUFFIXES:
        raise InputError(f"cannot write {path}: {suffix} holds 8 bits only; use .png or .tif")
    longest = _LONGEST.get(suffix)
    if longest is not None and max(size) > longest:
        raise InputError(
            f"cannot write {path}: {suffix} holds at most {longest} pixels a side, and this picture "
            f"is {size[1]}x{size[0]}; use .png or .tif"
        )
    if channels == 4 and suffix not in _ALPHA_SUFFIXES:
        raise InputError(f"cannot write {path}: {suffix} holds no alpha; use .png, .tif or .webp")


def decode_file(path: Path, *, profile: bool = False) -> Decoded:
    """Reads a file's pixels and, on request, its color profile, checked; see `read_image`."""
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read image {path}: {reason}") from None
    return decode_content(data, str(path), profile=profile)


def decode_content(data: bytes, name: str, *, profile: bool = False) -> Decoded:
    """As `decode_file`, of a file's content."""
    try:
        decoded, flaw = decode_bytes(data, profile=profile)
        if profile and decoded.tags.icc_profile is not None:
            channels = decoded.pixels.shape[2]
            icc, flaw = spaces.check_profile(decoded.tags.icc_profile, channels)
            decoded = replace(decoded, tags=replace(decoded.tags, icc_profile=icc))
    except DamagedError as error:
        raise InputError(f"cannot read image {name}: {error}") from None
    if profile and flaw is not None:
        warnings.warn(
            f"the color profile of {name} {flaw}: it is left out, and colors are taken as sRGB",
            stacklevel=4,
        )
    return decoded


def decode_bytes(data: bytes, *, profile: bool = False) -> tuple[Decoded, str | None]:
    """Decodes a file's bytes; also what is wrong with its profile, which is then left out.

    Raises:
        DamagedError: see `read_image`.
    """
    if data.startswith(png.SIGNATURE):
        return _decode_png(data, profile)
    if data[:4] in tiff.MAGIC:
        return tiff.decode(data), None
    for start, what in _OTHERS:
        if data.startswith(start):
            raise DamagedError(f"it is {what}, which is not supported; save it as PNG or TIFF")
    if not data:
        raise DamagedError("the file is empty")
    return eight_bit.decode(data), None


def _decode_png(data: bytes, profile: bool) -> tuple[Decoded, str | None]:
    header = png.read_header(data)
    data = png.stripped(data) if header.needs_stripping else data
    if header.bits == 16:
        decoded = png.decode16(data, header)
    else:
        decoded = eight_bit.decode(data, ("PNG",))
        if header.needs_stripping and header.orientation > 1:
            decoded = turned(decoded, header.orientation)
    tags = header.tags
    if profile and (tags.icc_profile is None or header.color.cicp is not None):
        built = spaces.profile_from_png(header.color)
        tags = replace(tags, icc_profile=built or tags.icc_profile)
    return replace(decoded, tags=tags, frames=header.frames), header.flaw

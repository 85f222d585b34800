"""Reading and writing images: bit depth, alpha and color profile survive the round trip.

8-bit files go through Pillow, 16-bit ones through `deep_png` and `tiff`. Pixels are never
converted between color spaces: an embedded ICC profile is returned and embedded again on writing.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from jaxharm.errors import InputError
from jaxharm.images import deep_png, tiff
from jaxharm.images.files import write_whole
from jaxharm.images.header import DamagedError

# The formats without loss come first: of two files of one name the first of them is taken.
READ_SUFFIXES = (
    *(".png", ".apng", ".tif", ".tiff", ".bmp", ".dib", ".tga", ".qoi"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".webp", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    *(".avif", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif"),
)
_DEEP_SUFFIXES = (".png", ".tif", ".tiff")
_LONGEST = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # sides that the encoders accept
_ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp")
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".tif": {"format": "TIFF", "compression": "tiff_lzw"},
    ".tiff": {"format": "TIFF", "compression": "tiff_lzw"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True, "exact": True},
    ".bmp": {"format": "BMP"},
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ImageFile:
    """A decoded image.

    Attributes:
        pixels: u8 or u16 [h,w,3] RGB or [h,w,4] RGBA, upright (EXIF orientation applied).
        icc_profile: the embedded profile, or None.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None


def read_image(path: str | os.PathLike[str]) -> ImageFile:
    """Reads gray, palette, RGB or RGBA in 8 or 16 bits; gray and palette become RGB.

    Raises:
        InputError: no such file, truncated, not an image, or an encoding that would need a color
            conversion (CMYK, Lab, floating point).
    """
    pixels, icc = decode_file(Path(path))
    if pixels.shape[2] <= 2:
        gray, alpha = pixels[..., :1], pixels[..., 1:]
        pixels = np.concatenate([gray, gray, gray, alpha], axis=2)
    return ImageFile(pixels, icc)


def write_image(
    path: str | os.PathLike[str], pixels: np.ndarray, *, icc_profile: bytes | None = None
) -> None:
    """Writes u8 or u16 [h,w,3|4] in the format of the suffix, whole or not at all.

    The file appears under its name only when it is complete. PNG, TIFF, WebP and BMP are written
    without loss; JPEG at quality 95 without chroma subsampling.

    Raises:
        InputError: the suffix cannot hold the pixels, or the folder is not writable.
    """
    path = Path(path)
    check_output(path, dtype=pixels.dtype, channels=pixels.shape[2], size=pixels.shape[:2])
    if pixels.dtype == np.uint16:
        if path.suffix.lower() == ".png":
            parts = deep_png.encode(pixels, icc_profile)
        else:
            parts = [tiff.encode(pixels, icc_profile)]
    else:
        buffer = io.BytesIO()
        options = dict(_SAVE_OPTIONS[path.suffix.lower()])
        # The header that Pillow writes for BMP has no place for a profile.
        if path.suffix.lower() != ".bmp":
            options["icc_profile"] = icc_profile
        try:
            Image.fromarray(pixels).save(buffer, **options)
        # The encoders are many libraries, each with errors of its own.
        except Exception as error:
            raise InputError(f"cannot write {path}: {options['format']} encoder: {error}") from None
        parts = [buffer.getbuffer()]
    write_whole(path, *parts)


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
    if suffix not in _SAVE_OPTIONS:
        raise InputError(
            f"cannot write {path}: unknown suffix {suffix!r}; use one of {', '.join(_SAVE_OPTIONS)}"
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


def decode_file(path: Path) -> tuple[np.ndarray, bytes | None]:
    """Reads pixels [h,w,1|2|3|4], u8 or u16, and the embedded profile; see `read_image`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist") from None
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error.strerror}") from None
    try:
        # Pillow would reduce 16 bits to 8 and is silent about some truncated files.
        for module, is_kind in ((deep_png, deep_png.is_png), (tiff, tiff.is_tiff)):
            if not is_kind(data):
                continue
            header = module.read_header(data)
            if header.floating:
                raise DamagedError("floating-point samples are not supported; save it as 16-bit")
            if header.bits == 16:
                return module.decode(data), header.icc_profile
            if header.bits > 16:
                raise DamagedError(f"{header.bits}-bit samples are not supported")
        return _decode_8bit(data)
    except DamagedError as error:
        raise InputError(f"cannot read image {path}: {error}") from None


def _decode_8bit(data: bytes) -> tuple[np.ndarray, bytes | None]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            icc = image.info.get("icc_profile")
            mode = _array_mode(image)
            turn = _TURNS.get(_orientation(image))
            upright = image.convert(mode)
            pixels = np.array(upright if turn is None else upright.transpose(turn))
    except DamagedError:
        raise
    except UnidentifiedImageError:
        raise DamagedError("it is not an image of a known format") from None
    # The decoders are many libraries, each with errors of its own.
    except Exception as error:
        raise DamagedError(f"Pillow: {error or type(error).__name__}") from None
    return (pixels[..., None] if pixels.ndim == 2 else pixels), icc


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 where there is none or the block is damaged."""
    try:
        # Not `ImageOps.exif_transpose`: it writes all fields anew, and fails on one odd field.
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the pixels may be sound although the EXIF block is not
        return 1
    return orientation if isinstance(orientation, int) else 1


def _array_mode(image: Image.Image) -> str:
    """Names the Pillow mode that holds this image without loss."""
    # A palette or gray PNG may mark one color as transparent: that is an alpha channel.
    transparent = "transparency" in image.info
    if image.mode in ("1", "L"):
        return "LA" if transparent else "L"
    if image.mode in ("P", "RGB"):
        return "RGBA" if transparent else "RGB"
    if image.mode in ("LA", "RGBA"):
        return image.mode
    if image.mode == "PA":
        return "RGBA"
    raise DamagedError(f"its {image.mode} encoding is not supported; save it as RGB")

"""8-bit PNG, JPEG, WebP, BMP and other 8-bit formats, by Pillow."""

import io
import re
from typing import Any

import numpy as np
from PIL import Image

from jaxharm.images import exif
from jaxharm.images.decoded import HDR, DamagedError, Decoded, Tags, check_pixel_count, turned

# In the order in which they are tried; TGA has no mark at its beginning.
KINDS = ("JPEG", "WEBP", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM", "QOI", "TGA")
_QOI_RUN = 62  # the most pixels that a byte of QOI stands for
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True, "exact": True},
    ".bmp": {"format": "BMP"},
}


def decode(data: bytes, kinds: tuple[str, ...] = KINDS) -> Decoded:
    """Decodes a file of one of Pillow's formats `kinds` to u8[h,w,1|2|3|4], upright, with its tags.

    Raises:
        DamagedError: of none of these formats, damaged, of more than 8 bits, or of an encoding that
            would need a color conversion.
    """
    try:
        with _opened(data, kinds) as image:
            check_pixel_count(image.width, image.height)
            if image.format == "QOI" and image.width * image.height > _QOI_RUN * len(data):
                raise DamagedError("it is cut off: it has too few bytes for its size")
            _refuse_deep(data, str(image.format))
            mode = _array_mode(image)
            info = _exif_of(image)
            orientation = exif.orientation(info)
            dpi = exif.checked_dpi(*_pair(image.info.get("dpi"))) or exif.dots_per_inch(info)
            icc = image.info.get("icc_profile")
            tags = Tags(icc or None, dpi, exif.copyright_notice(info))
            lossy = image.format in ("JPEG", "MPO")
            # The other pictures of an MPO are previews.
            frames = 1 if lossy else getattr(image, "n_frames", 1)
            indices = np.array(image) if image.mode == "P" else None
            pixels = np.array(image.convert(mode))
    except DamagedError:
        raise
    # The decoders are many libraries, each with errors of its own.
    except Exception as error:
        raise DamagedError(f"Pillow: {error or type(error).__name__}") from None
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return turned(Decoded(pixels, tags, 1, indices, lossy, frames), orientation)


def encode(pixels: np.ndarray, suffix: str, tags: Tags) -> memoryview:
    """Encodes u8[h,w,1|3|4] in the format of a suffix, with its tags."""
    options = dict(_SAVE_OPTIONS[suffix])
    # The header that Pillow writes for BMP has no place for a profile or a notice.
    if suffix != ".bmp":
        options["icc_profile"] = tags.icc_profile
        block = exif.block(tags.copyright, tags.dpi if suffix == ".webp" else None)
        if block is not None:
            options["exif"] = block
    if tags.dpi is not None and suffix != ".webp":
        options["dpi"] = tags.dpi
    buffer = io.BytesIO()
    array = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    try:
        Image.fromarray(array).save(buffer, **options)
    # The encoders are many libraries, each with errors of its own.
    except Exception as error:
        raise DamagedError(f"{options['format']} encoder: {error}") from None
    return buffer.getbuffer()


def _opened(data: bytes, kinds: tuple[str, ...]) -> Image.Image:
    """Opens a file by the decoders of `kinds`.

    Not by `Image.open`, whose limit of pixels is a setting of the whole process, and below what
    cameras of telephones make: `check_pixel_count` has ours.
    """
    Image.init()
    for kind in kinds:
        if kind not in Image.OPEN:
            continue
        factory, accepts = Image.OPEN[kind]
        verdict = accepts is None or accepts(data[:16])
        if not verdict or isinstance(verdict, str):  # words: a decoder that was not built in
            continue
        try:
            return factory(io.BytesIO(data), "")
        except SyntaxError:  # how Pillow says that it is another format
            if accepts is not None:
                raise
    raise DamagedError("it is not an image of a known format")


def _refuse_deep(data: bytes, kind: str) -> None:
    """DamagedError for the formats whose deeper samples Pillow reduces to 8 bits, or HDR."""
    bits = 8
    if kind == "PPM":
        numbers = re.match(rb"P[1-7]\s+(?:#[^\n]*\n\s*)*(?:\d+\s+){2}(\d+)", data[:1000])
        bits = 16 if numbers and data[:2] in (b"P5", b"P6") and int(numbers[1]) > 255 else 8
    elif kind == "JPEG2000":
        start = data.find(b"\xff\x4f\xff\x51")
        bits = (data[start + 42] & 0x7F) + 1 if 0 <= start < len(data) - 42 else 8
    elif kind == "AVIF":
        start = data.find(b"av1C")
        bits = 10 if 0 <= start < len(data) - 6 and data[start + 6] & 0x40 else 8
        start = data.find(b"nclx")
        if 0 <= start < len(data) - 8 and int.from_bytes(data[start + 6 : start + 8], "big") in HDR:
            raise DamagedError("it is of high dynamic range; save it as SDR, in PNG or TIFF")
    if bits > 8:
        raise DamagedError(f"a {kind} of more than 8 bits is not supported; save it as 16-bit TIFF")


def _exif_of(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except Exception:  # the pixels may be sound although the EXIF block is not
        return Image.Exif()


def _pair(value: object) -> tuple[object, object]:
    return (value[0], value[1]) if isinstance(value, tuple) and len(value) == 2 else (None, None)


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

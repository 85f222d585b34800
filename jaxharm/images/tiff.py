"""TIFF of every depth that is read, decoded and encoded by tifffile with imagecodecs.

It knows what the others do not: planes, tiles, BigTIFF, white-is-zero, both kinds of alpha, 16-bit
color, and it says what a file holds. Pillow reads 16-bit color as 8 bits or not at all, and OpenCV
takes planes for pixels and both kinds of alpha for one. OpenImageIO would be a further dependency.
"""

import io
import logging
import math
import os
import struct
from typing import TYPE_CHECKING

import numpy as np

from jaxharm.images import exif
from jaxharm.images.decoded import (
    DamagedError,
    Decoded,
    Tags,
    associated,
    check_pixel_count,
    straight,
    turned,
)

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")  # the latter two: BigTIFF
_WHITE_IS_ZERO, _GRAY, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6  # photometric interpretations
_JPEG = (6, 7)  # compressions
_UNSPECIFIED, _ASSOCIATED = 0, 1  # kinds of extra samples
_ORIENTATION, _COPYRIGHT, _PER_CM = 274, 33432, 3
_COLOR_CHANNELS = {_WHITE_IS_ZERO: 1, _GRAY: 1, _RGB: 3, _PALETTE: 1, _YCBCR: 3}


def decode(data: bytes) -> Decoded:
    """Decodes gray, palette or RGB, with or without alpha, to u8|u16[h,w,1|2|3|4].

    Raises:
        DamagedError: damaged, of a kind that is not supported, or too large.
    """
    # Imported here: data workers import this package and read no TIFF.
    import tifffile

    # What it would log about a damaged file is in the error that is raised.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            assert isinstance(page, tifffile.TiffPage)
            (entries,) = struct.unpack_from(file.tiff.tagnoformat, data, page.offset)
            _check_complete(page, len(data), entries)
            _check_kind(page)
            return _decoded(page, _count(file))
    except DamagedError:
        raise
    except (tifffile.TiffFileError, struct.error, LookupError, TypeError):
        raise DamagedError("the file is truncated or damaged") from None
    # The decoders are many libraries, each with errors of its own.
    except Exception as error:
        raise DamagedError(f"tifffile: {error}") from None


def encode(pixels: np.ndarray, tags: Tags) -> memoryview:
    """Encodes u8|u16[h,w,1|3|4] as a TIFF without loss, with its tags."""
    import tifffile

    color, alpha = pixels.shape[2] > 1, pixels.shape[2] == 4
    premultiplied = alpha and tags.premultiplied
    pixels = associated(pixels) if premultiplied else pixels
    notice = (tags.copyright or "").encode("ascii", "replace").decode("ascii")
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels if color else pixels[..., 0],
        photometric="rgb" if color else "minisblack",
        extrasamples=["assocalpha" if premultiplied else "unassalpha"] if alpha else None,
        # LZW with the difference to the left neighbor: what every program can read.
        compression="lzw",
        predictor=True,
        maxworkers=os.cpu_count(),
        iccprofile=tags.icc_profile,
        resolution=tags.dpi,
        resolutionunit="inch" if tags.dpi else None,
        extratags=[(_COPYRIGHT, "s", 0, notice, True)] if notice else (),
        metadata=None,
        software=False,
    )
    return file.getbuffer()


def _check_complete(page: "TiffPage", length: int, entries: int) -> None:
    """DamagedError unless the file holds all entries and pixels of the page."""
    check_pixel_count(page.imagewidth, page.imagelength)
    if not page.databytecounts or not page.dataoffsets:
        raise DamagedError("it does not say where its pixels are (no StripOffsets or ByteCounts)")
    if 279 not in page.tags and 325 not in page.tags:
        raise DamagedError("it does not say how long its strips are (no StripByteCounts)")
    pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
    if max(start + size for start, size in pieces) > length:
        raise DamagedError("the file is truncated")
    # tifffile fills what is missing with zeros: a small file would claim any amount of memory.
    wanted = math.prod(page.chunked)
    if len(page.dataoffsets) < wanted:
        raise DamagedError(
            f"it holds {len(page.dataoffsets)} of the {wanted} pieces of its picture"
        )
    # tifffile goes on without an entry whose value lies behind the end, such as the profile.
    if entries > len(page.tags):
        raise DamagedError("the file is truncated, or has entries of unknown types")


def _check_kind(page: "TiffPage") -> None:
    """DamagedError that names the kind of the file, unless `_decoded` reads it rightly."""
    import tifffile

    kind = page.photometric
    name = getattr(kind, "name", kind)
    if kind not in _COLOR_CHANNELS:
        raise DamagedError(f"its {name} encoding is not supported; save it as RGB")
    if kind == _YCBCR and page.compression not in _JPEG:
        raise DamagedError("its YCBCR encoding without JPEG is not supported; save it as RGB")
    if page.sampleformat == tifffile.SAMPLEFORMAT.IEEEFP:
        raise DamagedError("floating-point samples are not supported; save it as 16-bit")
    if page.sampleformat != tifffile.SAMPLEFORMAT.UINT:
        raise DamagedError("its samples have a sign or are complex; save it as 16-bit RGB")
    bits = page.bitspersample
    if bits not in ((8, 16) if _COLOR_CHANNELS[kind] == 3 else (1, 2, 4, 8, 16)):
        raise DamagedError(f"{bits}-bit samples are not supported; save it with 8 or 16 bits")
    if page.imagedepth > 1:
        raise DamagedError("it is a volume of several slices; save one of them")
    extra = page.samplesperpixel - _COLOR_CHANNELS[kind]
    if extra not in (0, 1):
        raise DamagedError(
            f"its {page.samplesperpixel} channels are not supported; save it as RGB, or RGB with "
            "transparency"
        )
    # Without the entry, a fourth channel is alpha by custom.
    if extra and page.extrasamples and page.extrasamples[0] == _UNSPECIFIED:
        raise DamagedError(
            f"channel {page.samplesperpixel} is not said to be alpha (ExtraSamples 0: a saved "
            "selection?); delete it, or save it as transparency"
        )


def _decoded(page: "TiffPage", frames: int) -> Decoded:
    pixels = page.asarray(maxworkers=os.cpu_count())
    if page.axes.startswith("S"):  # one plane per channel
        pixels = np.moveaxis(pixels, 0, -1)
    pixels = np.ascontiguousarray(pixels)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    channels = page.samplesperpixel
    if pixels.ndim != 3 or pixels.shape != (page.imagelength, page.imagewidth, channels):
        raise DamagedError(f"its pixels come out as {list(pixels.shape)}, not as its header says")
    indices = None
    if page.photometric == _PALETTE:
        indices, pixels = pixels[..., 0].astype(np.uint8), _from_palette(page, pixels)
    elif page.bitspersample < 8:
        pixels = pixels.astype(np.uint8) * np.uint8(255 // (2**page.bitspersample - 1))
    if page.photometric == _WHITE_IS_ZERO:
        np.invert(pixels[..., 0], out=pixels[..., 0])  # not the alpha beside it
    premultiplied = bool(page.extrasamples) and page.extrasamples[0] == _ASSOCIATED
    pixels = straight(pixels) if premultiplied else pixels
    orientation = _number(page, _ORIENTATION)
    tags = Tags(page.iccprofile, _dpi(page), _notice(page), premultiplied)
    decoded = Decoded(pixels, tags, 1, indices, page.compression in _JPEG, frames)
    return turned(decoded, orientation if orientation in range(1, 9) else 1)


def _from_palette(page: "TiffPage", pixels: np.ndarray) -> np.ndarray:
    """u8[h,w,3] of indices; a TIFF stores its palette in 16 bits."""
    if page.colormap is None or pixels.max(initial=0) >= page.colormap.shape[1]:
        raise DamagedError("its palette is missing or too short")
    table = np.asarray(page.colormap.T)
    # Some programs store 8-bit values there.
    shift = 0 if table.max(initial=0) < 256 else 8
    colors: np.ndarray = (table >> shift).astype(np.uint8)[pixels[..., 0]]
    return colors


def _dpi(page: "TiffPage") -> tuple[float, float] | None:
    if 282 not in page.tags or 283 not in page.tags or _number(page, 296) == 1:
        return None
    factor = 2.54 if _number(page, 296) == _PER_CM else 1.0
    (x, per_x), (y, per_y) = page.tags[282].value, page.tags[283].value
    return exif.checked_dpi(x / max(per_x, 1), y / max(per_y, 1), factor)


def _notice(page: "TiffPage") -> str | None:
    tag = page.tags.get(_COPYRIGHT)
    return tag.value.strip(" \0") or None if tag and isinstance(tag.value, str) else None


def _number(page: "TiffPage", tag: int) -> int:
    found = page.tags.get(tag)
    return int(found.value) if found is not None and isinstance(found.value, int) else 0


def _count(file: "TiffFile") -> int:
    """How many pictures the file holds, apart from smaller copies of the first; at most 100."""
    count = 1
    try:
        for index in range(1, min(len(file.pages), 100)):
            count += not getattr(file.pages[index], "is_reduced", False)
    except Exception:  # a damaged entry behind a sound first page
        return count
    return count

"""TIFF files with 16 bits per channel, which Pillow cannot hold in color. Decoded by tifffile."""

import io
import logging
import struct

import numpy as np

from jaxharm.images.header import DamagedError, Header

_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")  # the latter two: BigTIFF
_MAX_PIXELS = 2**30
_WHITE_IS_ZERO, _GRAY, _RGB = 0, 1, 2  # photometric interpretations


def is_tiff(data: bytes) -> bool:
    """Whether the bytes begin as a TIFF does."""
    return data[:4] in _MAGIC


def read_header(data: bytes) -> Header:
    """Reads the header of the first image.

    Raises:
        DamagedError: the file ends before its pixels do.
    """
    # Imported here: data workers import this package and read no TIFF.
    import tifffile

    # What it would log about a damaged file is in the error that is raised.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            ends = [
                start + size
                for start, size in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
            (entries,) = struct.unpack_from(file.tiff.tagnoformat, data, page.offset)
            lost = entries - len(page.tags)
            bits, sample_format = page.bitspersample, page.sampleformat
            icc = page.iccprofile
    except (tifffile.TiffFileError, struct.error, ValueError, LookupError, TypeError):
        raise DamagedError("the file is truncated") from None
    if max(ends, default=len(data) + 1) > len(data):
        raise DamagedError("the file is truncated")
    # tifffile goes on without an entry whose value lies behind the end, such as the profile.
    if lost > 0:
        raise DamagedError("the file is truncated, or has entries of unknown types")
    return Header(bits, floating=sample_format == tifffile.SAMPLEFORMAT.IEEEFP, icc_profile=icc)


def decode(data: bytes) -> np.ndarray:
    """Decodes 16-bit gray or RGB, with or without alpha, to u16[h,w,1|2|3|4].

    Raises:
        DamagedError: damaged, of an unsupported kind, or too large.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.imagewidth * page.imagelength > _MAX_PIXELS:
            raise DamagedError(f"it has more than {_MAX_PIXELS} pixels")
        if page.photometric not in (_WHITE_IS_ZERO, _GRAY, _RGB):
            kind = tifffile.PHOTOMETRIC(page.photometric).name
            raise DamagedError(f"its {kind} encoding is not supported; save it as RGB")
        try:
            pixels = page.asarray()
        # The decoders are many libraries, each with errors of its own.
        except Exception as error:
            raise DamagedError(f"tifffile: {error}") from None
        if page.axes.startswith("S"):  # one plane per channel
            pixels = np.moveaxis(pixels, 0, -1)
        if page.photometric == _WHITE_IS_ZERO:
            pixels = ~pixels
    if pixels.dtype != np.uint16 or pixels.ndim not in (2, 3):
        raise DamagedError(f"its samples are {pixels.dtype}; only 8 and 16 bits are supported")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] > 4:
        raise DamagedError(f"its {pixels.shape[2]} channels are not supported; save it as RGB")
    return np.ascontiguousarray(pixels)


def encode(pixels: np.ndarray, icc_profile: bytes | None) -> memoryview:
    """Encodes u16[h,w,1|3|4] as a TIFF without loss, with its profile."""
    import tifffile

    color = pixels.shape[2] > 1
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels if color else pixels[..., 0],
        photometric="rgb" if color else "minisblack",
        extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
        # LZW with the difference to the left neighbor: what every program can read.
        compression="lzw",
        predictor=True,
        iccprofile=icc_profile,
        metadata=None,
    )
    return file.getbuffer()

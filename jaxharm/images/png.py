"""PNG: its chunks are read and written here, 8-bit pixels coded by Pillow, 16-bit ones read by
imagecodecs.

No one library does all of it: Pillow reduces 16-bit color to 8 bits, and imagecodecs keeps neither
profile nor palette. OpenCV writes lines of its own to stderr about damaged files. 16-bit pixels are
compressed here: libpng takes one core and twice the time.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from jaxharm.images import exif
from jaxharm.images.decoded import (
    MAX_PROFILE_BYTES,
    DamagedError,
    Decoded,
    Tags,
    check_pixel_count,
    turned,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PER_INCH = 0.0254  # of pixels per meter
_MOST_DEFLATED = 1032  # bytes that one byte of deflated data can hold, at most
_STRIP_BYTES = 2**24  # of pixels that are compressed at a time
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a color type


@dataclass(frozen=True)
class Color:
    """What a PNG says about its colors without an ICC profile, as stored.

    Attributes:
        cicp: primaries, transfer, matrix and range (ITU-T H.273).
        srgb: whether it says that it is sRGB.
        gamma: the encoding exponent, such as 0.45455.
        chromaticities: x and y of white, red, green and blue.
    """

    cicp: tuple[int, int, int, int] | None = None
    srgb: bool = False
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Header:
    """The chunks that matter. `flaw` says what is wrong with the profile, which is then None."""

    bits: int
    tags: Tags
    color: Color
    orientation: int
    frames: int
    flaw: str | None
    needs_stripping: bool


def read_header(data: bytes) -> Header:
    """Reads everything but the pixels.

    Raises:
        DamagedError: the file ends before its pixels do, or its header makes no sense.
    """
    chunks: dict[bytes, memoryview] = {}
    pixel_bytes, needs_stripping = 0, False
    for kind, payload in _chunks(data):
        if kind == b"IDAT":
            pixel_bytes += len(payload)
        else:
            chunks.setdefault(kind, payload)
        # Decoders refuse a sound picture for a note that unpacks to megabytes.
        needs_stripping |= kind in (b"zTXt", b"iTXt") and len(payload) > 1000
    width, height, bits, color_type = _dimensions(chunks)
    if height * width * _CHANNELS[color_type] * bits / 8 > pixel_bytes * _MOST_DEFLATED:
        raise DamagedError("the file is truncated")
    icc, flaw = _profile(chunks.get(b"iCCP"))
    info = exif.parse(bytes(chunks.get(b"eXIf", b"")))
    tags = Tags(icc, _dpi(chunks), _notice(data) or exif.copyright_notice(info))
    return Header(
        bits,
        tags,
        _color(chunks),
        exif.orientation(info),
        struct.unpack_from(">I", _at_least(chunks, b"acTL", 4, b"\0\0\0\1"))[0],
        flaw,
        needs_stripping or flaw is not None,
    )


def decode16(data: bytes, header: Header) -> Decoded:
    """Decodes 16-bit gray or RGB, with or without alpha, to u16[h,w,1|2|3|4].

    Raises:
        DamagedError: it is damaged.
    """
    # Imported here, as data workers import this package and read no 16-bit files.
    from imagecodecs import png_decode

    try:
        pixels = png_decode(data)
    except Exception as error:  # of the binding, which has several
        raise DamagedError(f"libpng: {error}") from None
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return turned(Decoded(pixels, header.tags, frames=header.frames), header.orientation)


def encode16(pixels: np.ndarray, tags: Tags) -> list[bytes]:
    """Encodes u16[h,w,1|3|4] as a PNG with its tags, in parts to be joined.

    In parts, because joining them would copy hundreds of megabytes of a large image. Strips of it
    are compressed side by side, by all cores; the bytes do not depend on their number.
    """
    height, width, channels = pixels.shape
    color_type = {1: 0, 3: 2, 4: 6}[channels]
    rows = max(1, _STRIP_BYTES // (2 * width * channels))
    starts = range(0, height, rows)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        strips = pool.map(lambda a: _strip(pixels[a : a + rows], last=a + rows >= height), starts)
        parts, checksum = [b"\x78\x01"], 1  # the stream's head: deflate, its fastest level
        for deflated, strip_checksum, length in strips:
            parts.append(deflated)
            checksum = _joined_adler32(checksum, strip_checksum, length)
    parts.append(struct.pack(">I", checksum))
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    head = [SIGNATURE, *_chunk(b"IHDR", header), *_tag_chunks(tags)]
    return [*head, *(piece for part in parts for piece in _chunk(b"IDAT", part)), *_chunk(b"IEND")]


def _strip(pixels: np.ndarray, *, last: bool) -> tuple[bytes, int, int]:
    """Some rows, filtered and compressed; the checksum and number of the filtered bytes."""
    stored = np.ascontiguousarray(pixels, ">u2").view(np.uint8).reshape(len(pixels), -1)
    step = 2 * pixels.shape[2]
    filtered = np.empty((len(stored), 1 + stored.shape[1]), np.uint8)
    filtered[:, 0] = 1  # each byte less the one of the pixel to the left
    filtered[:, 1 : 1 + step] = stored[:, :step]
    np.subtract(stored[:, step:], stored[:, :-step], out=filtered[:, 1 + step :])
    data = filtered.data.cast("B")
    # Noise fills the low bits of most pictures: searching for repeats longer than runs costs half of
    # the time, and makes the file of a photograph larger.
    pack = zlib.compressobj(1, wbits=-zlib.MAX_WBITS, memLevel=9, strategy=zlib.Z_RLE)
    deflated = pack.compress(data) + pack.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)
    return deflated, zlib.adler32(data), len(data)


def _joined_adler32(first: int, second: int, length: int) -> int:
    """The checksum of two pieces from those of each; `length` is that of the second, in bytes."""
    low, high = first & 0xFFFF, first >> 16
    total = low + (second & 0xFFFF) - 1
    sums = high + (second >> 16) + length * (low - 1)
    return sums % 65521 << 16 | total % 65521


def _tag_chunks(tags: Tags) -> Iterator[bytes]:
    if tags.icc_profile is not None:
        yield from _chunk(b"iCCP", b"ICC profile\x00\x00" + zlib.compress(tags.icc_profile))
    if tags.dpi is not None:
        per_meter = [round(dpi / _PER_INCH) for dpi in tags.dpi]
        yield from _chunk(b"pHYs", struct.pack(">IIB", *per_meter, 1))
    block = exif.block(tags.copyright, None)
    if block is not None:
        yield from _chunk(b"eXIf", block.removeprefix(b"Exif\0\0"))


def stripped(data: bytes) -> bytes:
    """The same picture without its notes and profile, which may be what a decoder stumbles over."""
    view, kept = memoryview(data), [memoryview(SIGNATURE)]
    position = len(SIGNATURE)
    for kind, payload in _chunks(data):
        end = position + 12 + len(payload)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(view[position:end])
        position = end
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Type and payload of every chunk up to IEND: length, type, payload, checksum each."""
    view, position = memoryview(data), len(SIGNATURE)
    while True:
        if position + 12 > len(data):
            raise DamagedError("the file is truncated")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        if position + 12 + length > len(data):
            raise DamagedError("the file is truncated")
        yield kind, view[position + 8 : position + 8 + length]
        if kind == b"IEND":
            return
        position += 12 + length


def _dimensions(chunks: dict[bytes, memoryview]) -> tuple[int, int, int, int]:
    header = chunks.get(b"IHDR", b"")
    if len(header) < 13:
        raise DamagedError("its header is damaged")
    width, height, bits, color_type = struct.unpack_from(">IIBB", header)
    if color_type not in _CHANNELS or bits not in (1, 2, 4, 8, 16):
        raise DamagedError("its header is damaged")
    check_pixel_count(width, height)
    return width, height, bits, color_type


def _profile(chunk: memoryview | None) -> tuple[bytes | None, str | None]:
    """The unpacked profile, or what is wrong with it."""
    if chunk is None:
        return None, None
    _, _, rest = bytes(chunk).partition(b"\x00")
    unpacker = zlib.decompressobj()
    try:
        icc = unpacker.decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None, "is damaged"
    if unpacker.unconsumed_tail:
        return None, f"has more than {MAX_PROFILE_BYTES >> 20} MiB"
    return icc, None if unpacker.eof else "is damaged"


def _color(chunks: dict[bytes, memoryview]) -> Color:
    cicp = gamma = chromaticities = None
    if len(chunks.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full = chunks[b"cICP"]
        cicp = primaries, transfer, matrix, full
    if len(chunks.get(b"gAMA", b"")) == 4:
        gamma = struct.unpack(">I", chunks[b"gAMA"])[0] / 1e5
    if len(chunks.get(b"cHRM", b"")) == 32:
        chromaticities = tuple(v / 1e5 for v in struct.unpack(">8I", chunks[b"cHRM"]))
    return Color(cicp, b"sRGB" in chunks, gamma, chromaticities)


def _dpi(chunks: dict[bytes, memoryview]) -> tuple[float, float] | None:
    if len(chunks.get(b"pHYs", b"")) != 9 or chunks[b"pHYs"][8] != 1:
        return None
    x, y = struct.unpack_from(">II", chunks[b"pHYs"])
    return exif.checked_dpi(x, y, _PER_INCH)


def _notice(data: bytes) -> str | None:
    """The text chunk `Copyright`."""
    for kind, payload in _chunks(data):
        if kind == b"tEXt" and bytes(payload[:10]) == b"Copyright\0":
            return bytes(payload[10:]).decode("latin-1").strip() or None
    return None


def _at_least(
    chunks: dict[bytes, memoryview], kind: bytes, length: int, default: bytes
) -> memoryview | bytes:
    payload = chunks.get(kind, b"")
    return payload if len(payload) >= length else default


def _chunk(kind: bytes, payload: bytes = b"") -> tuple[bytes, bytes, bytes]:
    checksum = zlib.crc32(payload, zlib.crc32(kind))
    return struct.pack(">I", len(payload)) + kind, payload, struct.pack(">I", checksum)

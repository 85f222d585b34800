"""16-bit PNG and TIFF: what Pillow cannot hold is decoded by OpenCV, checked and tagged here.

OpenCV neither reports a truncated file the same way in every version nor keeps color profiles,
so the few header fields that matter are parsed from the bytes.
"""

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_BITS, _TIFF_OFFSETS, _TIFF_COUNTS, _TIFF_ICC, _TIFF_FORMAT = 258, 273, 279, 34675, 339
_TIFF_TILE_OFFSETS, _TIFF_TILE_COUNTS = 324, 325
# TIFF field type -> (bytes per value, struct code)
_TIFF_TYPES = {1: (1, "B"), 2: (1, "c"), 3: (2, "H"), 4: (4, "I"), 7: (1, "B")}


class DamagedError(Exception):
    """The bytes are not a whole image; the message says why, without the file's name."""


@dataclass(frozen=True)
class Header:
    """Bits per channel, whether samples are floating point, and the embedded profile."""

    bits: int
    floating: bool = False
    icc_profile: bytes | None = None


def read_header(data: bytes) -> Header | None:
    """The header of a PNG or classic TIFF; None for every other format.

    Raises:
        DamagedError: the file ends before its pixels do.
    """
    if data.startswith(PNG_SIGNATURE):
        return _png_header(data)
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return _tiff_header(data)
    return None


def decode(data: bytes) -> np.ndarray:
    """Decodes 16-bit gray, RGB or RGBA to u16[h,w,1|3|4]; DamagedError if it cannot."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DamagedError(f"OpenCV: {error.err}") from None
    if pixels is None:
        raise DamagedError("OpenCV cannot decode it; it is damaged or of an unsupported kind")
    if pixels.dtype != np.uint16:
        raise DamagedError(f"its samples are {pixels.dtype}; only 8 and 16 bits are supported")
    if pixels.ndim == 2:
        return pixels[..., None]
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return np.asarray(cv2.cvtColor(pixels, order[pixels.shape[2]]))


def encode(pixels: np.ndarray, suffix: str, icc_profile: bytes | None) -> list[memoryview]:
    """u16[h,w,1|3|4] -> a PNG or TIFF (by `suffix`) with its profile, in parts to be joined.

    Parts, because joining them would copy hundreds of megabytes of a large image.
    """
    if pixels.shape[2] > 1:
        order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
        pixels = np.asarray(cv2.cvtColor(pixels, order[pixels.shape[2]]))
    done, buffer = cv2.imencode(suffix, pixels)
    if not done:
        raise DamagedError(f"OpenCV cannot encode {suffix}")
    data = buffer.data.cast("B")
    if not icc_profile:
        return [data]
    tag = _tag_png if data[:8] == PNG_SIGNATURE else _tag_tiff
    return tag(data, icc_profile)


def _png_header(data: bytes) -> Header:
    """Walks the chunks; each is length, type, payload, checksum."""
    position, icc = len(PNG_SIGNATURE), None
    bits = data[24] if len(data) > 24 else 0
    while True:
        if position + 12 > len(data):
            raise DamagedError("the file is truncated")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        payload = data[position + 8 : position + 8 + length]
        if kind == b"IEND":
            return Header(bits, icc_profile=icc)
        if kind == b"iCCP":
            name, _, rest = payload.partition(b"\x00")
            try:
                icc = zlib.decompress(rest[1:])
            except zlib.error:
                raise DamagedError(f"its color profile {name!r} is damaged") from None
        position += 12 + length


def _tag_png(data: memoryview, icc_profile: bytes) -> list[memoryview]:
    """Inserts an iCCP chunk right after the header chunk (25 bytes long)."""
    payload = b"ICC profile\x00\x00" + zlib.compress(icc_profile)
    chunk = struct.pack(">I", len(payload)) + b"iCCP" + payload
    chunk += struct.pack(">I", zlib.crc32(b"iCCP" + payload))
    cut = len(PNG_SIGNATURE) + 25
    return [data[:cut], memoryview(chunk), data[cut:]]


def _tiff_header(data: bytes) -> Header:
    """Reads the first directory and checks that every strip or tile lies inside the file."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (directory,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, directory)
        tags = dict(_tiff_field(data, directory + 2 + 12 * index, order) for index in range(count))
        offsets = tags.get(_TIFF_OFFSETS) or tags[_TIFF_TILE_OFFSETS]
        counts = tags.get(_TIFF_COUNTS) or tags[_TIFF_TILE_COUNTS]
    except (struct.error, KeyError):
        raise DamagedError("the file is truncated") from None
    if any(start + size > len(data) for start, size in zip(offsets, counts, strict=False)):
        raise DamagedError("the file is truncated")
    icc = tags.get(_TIFF_ICC)
    return Header(
        bits=max(tags.get(_TIFF_BITS, (1,))),
        floating=3 in tags.get(_TIFF_FORMAT, ()),
        icc_profile=bytes(icc) if icc else None,
    )


def _tiff_field(data: bytes, position: int, order: str) -> tuple[int, tuple[int, ...]]:
    """One directory entry -> (tag, values); types that are not needed give no values."""
    tag, kind, count = struct.unpack_from(order + "HHI", data, position)
    if kind not in _TIFF_TYPES or kind == 2:
        return tag, ()
    size, code = _TIFF_TYPES[kind]
    place = position + 8
    if size * count > 4:
        (place,) = struct.unpack_from(order + "I", data, place)
    return tag, struct.unpack_from(f"{order}{count}{code}", data, place)


def _tag_tiff(data: memoryview, icc_profile: bytes) -> list[memoryview]:
    """Appends the profile and a copy of the directory that names it (entries sorted by tag)."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    start = directory + 2
    entries = [bytes(data[start + 12 * i : start + 12 * i + 12]) for i in range(count)]
    place = len(data) + len(data) % 2
    entries.append(struct.pack(order + "HHII", _TIFF_ICC, 7, len(icc_profile), place))
    entries.sort(key=lambda entry: struct.unpack_from(order + "H", entry)[0])
    body = icc_profile + b"\x00" * (len(icc_profile) % 2)
    new = struct.pack(order + "H", count + 1) + b"".join(entries) + struct.pack(order + "I", 0)
    header = bytes(data[:4]) + struct.pack(order + "I", place + len(body))
    tail = b"\x00" * (len(data) % 2) + body + new
    return [memoryview(header), data[8:], memoryview(tail)]

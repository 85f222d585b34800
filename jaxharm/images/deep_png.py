"""16-bit PNG: decoded and encoded by OpenCV, checked and tagged here.

OpenCV neither reports a truncated file the same way in every version nor keeps color profiles, and
Pillow reduces 16-bit color to 8 bits: the few chunks that matter are read from the bytes.
"""

import struct
import zlib

import cv2
import numpy as np

from jaxharm.images.header import DamagedError, Header

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def is_png(data: bytes) -> bool:
    """Whether the bytes begin as a PNG does."""
    return data.startswith(_SIGNATURE)


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


def encode(pixels: np.ndarray, icc_profile: bytes | None) -> list[memoryview]:
    """Encodes u16[h,w,1|3|4] as a PNG with its profile, in parts to be joined.

    Parts, because joining them would copy hundreds of megabytes of a large image.
    """
    if pixels.shape[2] > 1:
        order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
        pixels = np.asarray(cv2.cvtColor(pixels, order[pixels.shape[2]]))
    done, buffer = cv2.imencode(".png", pixels)
    if not done:
        raise DamagedError("OpenCV cannot encode it as PNG")
    data = buffer.data.cast("B")
    return _tag(data, icc_profile) if icc_profile else [data]


def read_header(data: bytes) -> Header:
    """Reads bit depth and color profile.

    Raises:
        DamagedError: the file ends before its pixels do, or its profile is damaged.
    """
    # Chunk after chunk, each of length, type, payload and checksum.
    position, icc = len(_SIGNATURE), None
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


def _tag(data: memoryview, icc_profile: bytes) -> list[memoryview]:
    """Inserts an iCCP chunk right after the header chunk (25 bytes long)."""
    payload = b"ICC profile\x00\x00" + zlib.compress(icc_profile)
    chunk = struct.pack(">I", len(payload)) + b"iCCP" + payload
    chunk += struct.pack(">I", zlib.crc32(b"iCCP" + payload))
    cut = len(_SIGNATURE) + 25
    return [data[:cut], memoryview(chunk), data[cut:]]

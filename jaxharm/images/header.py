"""What the header of an image file says, and how a damaged file is reported."""

from dataclasses import dataclass


class DamagedError(Exception):
    """The bytes are not a whole image; the message says why, without the file's name."""


@dataclass(frozen=True)
class Header:
    """Bits per channel, whether samples are floating point, and the embedded profile."""

    bits: int
    floating: bool = False
    icc_profile: bytes | None = None

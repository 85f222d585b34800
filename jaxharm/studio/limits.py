"""What a request may bring, and how long it may wait."""

from dataclasses import dataclass

from jaxharm.errors import InputError

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        upload: bytes of one request.
        megapixels: of one picture, after decoding.
        memory: bytes that pictures and results may take; the oldest are dropped.
        workers: requests that are worked on at once.
        waiting: further ones that may wait for their turn; more are refused.
        seconds: that a request may take, waiting included.
    """

    upload: int = 256 * MIB
    megapixels: float = 64.0
    memory: int = 4096 * MIB
    workers: int = 2
    waiting: int = 16
    seconds: float = 120.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0 and name != "waiting":
                raise InputError(f"{name} {value} is not above 0")


class TooLargeError(InputError):
    """A request or a picture above a limit."""


class BusyError(InputError):
    """Too many requests wait already."""


class LateError(InputError):
    """A request took longer than it may."""


class GoneError(InputError):
    """Something that was uploaded before is no longer here."""

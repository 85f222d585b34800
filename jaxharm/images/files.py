"""Reading a file that a user names, and writing one whole or not at all."""

import contextlib
import errno
import os
import socket
import threading
from pathlib import Path

from jaxharm.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The content of a file; OSError also for a pipe or a device, which may have no end."""
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return path.read_bytes()


def write_whole(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Writes the parts one after the other; the file appears under its name only when it is complete.

    Raises:
        InputError: the folder does not exist or is not writable, or the disk is full.
    """
    path = Path(path)
    # Not made of the file's own name, which may be as long as the file system allows. Other hosts
    # may write to the same folder.
    writer = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
    partial = path.with_name(f".jaxharm-{writer}.part")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
        partial.replace(path)
    except OSError as error:
        remedy = "make room there" if error.errno in _FULL else "choose a folder that is writable"
        raise InputError(f"cannot write {path}: {error.strerror}; {remedy}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()

"""One job at a time in a work folder: two would overwrite each other's checkpoints."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from jaxharm.errors import InputError

_FILE = ".lock"


@contextlib.contextmanager
def only_job(workdir: Path) -> Iterator[None]:
    """Keeps other jobs out of the folder until the block is left, or the process ends in any way.

    On a file system without locks nothing is kept out.

    Raises:
        InputError: another job is in the folder.
    """
    with (workdir / _FILE).open("a+") as file:
        try:
            # The system drops the lock with the process, so that a crash leaves none behind.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"another job is training in {workdir} ({file.read().strip() or 'unknown'}): wait "
                "for it, stop it, or choose another --workdir"
            ) from None
        except OSError:  # some network file systems have no locks
            yield
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield

"""The folder of a run, also where it is in a bucket: then a copy here, whose changes are sent there."""

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxharm.errors import InputError
from jaxharm.storage import NOTE, Bucket, Mirror, is_bucket, path_of
from jaxharm.training.clock import repeated
from jaxharm.weights.first_process import is_first, of_first

_SURE, _RENEWED = 120.0, 30.0  # seconds


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        path: on this machine.
        mirror: what sends them to a bucket; None where the run is not kept in one, and in every
            process but the first.
    """

    path: Path
    mirror: Mirror | None = None

    def __truediv__(self, name: str) -> "RunFolder":
        """A folder in it."""
        return RunFolder(self.path / name, self.mirror)

    def shown(self, name: str) -> str:
        """The place of a file or folder of the run, for messages."""
        place = str(self.path / name)
        if self.mirror is None:
            return place
        return place.replace(str(self.mirror.folder), self.mirror.bucket.url, 1)

    def send(self) -> None:
        """Returns when everything is where it is kept; InputError where that cannot be."""
        if self.mirror is not None:
            self.mirror.send()


@contextlib.contextmanager
def opened_folder(place: str) -> Iterator[RunFolder]:
    """Opens the folder of a run; every process calls it, and only the first one reads and writes.

    Args:
        place: a path, file://, or the address of a folder in a bucket.

    Raises:
        InputError: the bucket cannot be used, or another job trains there.
    """
    if not is_bucket(place):
        yield RunFolder(path_of(place))
        return
    mirror = Mirror(place)
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            stack.enter_context(_leased(mirror.bucket))
            stack.enter_context(mirror)

        of_first(begin)
        try:
            yield RunFolder(mirror.folder, mirror if is_first() else None)
        except InputError as error:
            # The user knows the bucket, not the copy.
            raise InputError(str(error).replace(str(mirror.folder), place)) from error


@contextlib.contextmanager
def _leased(bucket: Bucket) -> Iterator[None]:
    """Keeps other jobs out of a folder in a bucket, which has no locks.

    The note in it holds for two minutes and is renewed as long as the process lives: a job that was
    killed keeps its successor waiting no longer than that.
    """
    own = {"job": uuid.uuid4().hex, "who": f"process {os.getpid()} on {socket.gethostname()}"}
    _wait_for_others(bucket)

    def note() -> None:
        bucket.write(NOTE, json.dumps({**own, "until": time.time() + _SURE}).encode())

    def renew() -> None:
        with contextlib.suppress(InputError):  # the mirror tells of troubles
            note()

    note()
    time.sleep(1)  # of two jobs that began together, the one whose note stands goes on
    other = _holder(bucket)
    if other.get("job") != own["job"]:
        raise InputError(f"another job ({other.get('who')}) is training in {bucket.url}")
    try:
        with repeated(renew, _RENEWED):
            yield
    finally:
        with contextlib.suppress(InputError):
            bucket.remove([NOTE])


def _wait_for_others(bucket: Bucket) -> None:
    """Returns when no note holds; InputError where its job lives on."""
    first = found = _holder(bucket)
    told = False
    # Clocks of two machines differ: what counts is that the note does not change for its time.
    for _ in range(int(_SURE)):
        if not found or found["until"] < time.time():
            return
        if found["until"] != first["until"]:
            raise InputError(
                f"another job is training in {bucket.url} ({found.get('who')}): wait for it, stop "
                "it, or choose another --workdir"
            )
        if not told:
            print(
                f"{bucket.url} is held by {found.get('who')}; waiting up to {_SURE:.0f} s, in case "
                "that job was killed",
                flush=True,
            )
            told = True
        time.sleep(1)
        found = _holder(bucket)


def _holder(bucket: Bucket) -> dict[str, Any]:
    data = bucket.read(NOTE)
    try:
        return dict(json.loads(data)) if data else {}
    except (ValueError, TypeError):
        return {}  # no note of ours

"""Folders in buckets, `gs://...` or `s3://...`: copies of them on this machine, and the way back.

What lies in a bucket is read and written through a folder of this machine, so that all else works
on files. Access, credentials included, is that of fsspec and of the library of the scheme.
"""

import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from jaxharm.errors import InputError

_RECORD = ".copied.json"
# Name of a file -> what the bucket said of it, and its size and time here, when it was copied or sent.
_Record: TypeAlias = dict[str, list[Any]]
# Written last where a checkpoint is saved: without them its folder is not whole.
_MARKERS = ("_CHECKPOINT_METADATA", "commit_success.txt")
NOTE = ".job.json"  # of the job that writes to the folder
_OURS = ("*.partial", ".writable-*", ".lock", NOTE, _RECORD, "*.orbax-checkpoint-tmp*")
_LIBRARIES = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "az": "adlfs", "abfs": "adlfs"}
_TRIES = 3  # to read a file whole
_LOOK = 1.0  # seconds between two looks for a new checkpoint
_EVERY = 20.0  # seconds between two rounds of sending; a checkpoint does not wait for it


def is_bucket(place: str | os.PathLike[str]) -> bool:
    """Whether a place is an address such as gs://bucket/folder, and not a path of this machine."""
    scheme, mark, _ = str(place).partition("://")
    return bool(mark) and scheme != "file"


def path_of(place: str | os.PathLike[str]) -> Path:
    """A place on this machine as a path; file:// may stand before it.

    Raises:
        InputError: the place is in a bucket, where what is asked for does not work.
    """
    text = str(place)
    if is_bucket(text):
        raise InputError(
            f"{text} is in a bucket, and this needs a folder of this machine: copy it here first"
        )
    return Path(text.removeprefix("file://")).expanduser()


def cache_folder() -> Path:
    """Where copies are kept: JAXHARM_CACHE, else ~/.cache/jaxharm."""
    chosen = os.environ.get("JAXHARM_CACHE") or Path.home() / ".cache" / "jaxharm"
    return Path(chosen).expanduser()


def local_copy(
    place: str | os.PathLike[str], wanted: Callable[[list[str]], Iterable[str]] | None = None
) -> Path:
    """A folder of this machine with what lies at a place; the place itself unless in a bucket.

    A copy from before is brought up to date. Processes that ask for one copy do it in turn.

    Args:
        place: a path, file://, or the address of a folder in a bucket.
        wanted: names of all files, relative to the folder -> those that are needed; None: all.

    Raises:
        InputError: the bucket cannot be read.
    """
    if not is_bucket(place):
        return path_of(place)
    bucket = Bucket(str(place))
    folder = bucket.copy_folder("copies")
    with _alone(folder):
        tags = bucket.tags()
        _bring(bucket, folder, tags, tags if wanted is None else wanted(sorted(tags)))
    return folder


class Bucket:
    """A folder in a bucket.

    Attributes:
        url: its address.
    """

    def __init__(self, url: str) -> None:
        """InputError where the scheme is unknown or its library is not installed."""
        import fsspec

        self.url = url.rstrip("/")
        scheme = url.partition("://")[0]
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.url)
        except ImportError:
            library = _LIBRARIES.get(scheme)
            remedy = f"pip install {library}" if library else "install what fsspec needs for it"
            raise InputError(f"{url} cannot be used without another library: {remedy}") from None
        except ValueError:
            raise InputError(
                f"{url}: nothing is known of {scheme}://; use a path, gs:// or s3://"
            ) from None

    def copy_folder(self, kind: str) -> Path:
        """A folder of this machine that belongs to this one, by its address."""
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        return cache_folder() / kind / name

    def tags(self) -> dict[str, str]:
        """Name of every file, relative to the folder -> what tells one content from another.

        Notes of jobs and unfinished files are left out.
        """
        with self._explained("read"):
            self._files.invalidate_cache()
            try:
                found: dict[str, Any] = self._files.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
            start = len(self._root.rstrip("/")) + 1
            named = {path[start:]: _tag(info) for path, info in found.items()}
            return {name: tag for name, tag in named.items() if name and not _is_ours(name)}

    def get(self, name: str, file: Path) -> None:
        """Copies one file here; whole, or not at all.

        Raises:
            InputError: it cannot be read, or comes with another number of bytes than it has.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.partial")
        for _ in range(_TRIES):  # it may be written anew meanwhile
            with self._explained("read"):
                self._files.get_file(f"{self._root}/{name}", str(partial))
                size, came = int(self._info(name)["size"]), partial.stat().st_size
            if came == size:
                partial.replace(file)
                return
        partial.unlink()
        raise InputError(
            f"cannot read {self.url}: {came} of the {size} bytes of {name} came: run the same "
            "command again"
        )

    def put(self, file: Path, name: str) -> str:
        """Sends one file.

        Returns:
            What tells its content there from another, as in `tags`.

        Raises:
            FileNotFoundError: it is gone.
            InputError: it cannot be written, or has another number of bytes there.
        """
        if not file.is_file():
            raise FileNotFoundError(file)
        for send in (self._files.put_file, self._send_as_stream):
            with self._explained("write to"):
                send(str(file), f"{self._root}/{name}")
                info, size = self._info(name), file.stat().st_size
            if int(info["size"]) == size:
                return _tag(info)
        raise InputError(
            f"cannot write to {self.url}: of {name}, which has {size} bytes, it holds {info['size']}"
        )

    def _send_as_stream(self, file: str, place: str) -> None:
        # What is sent in one request stands between lines that mark its ends, and where a library
        # ends lines as others do not, a server takes the last byte of some files for part of the
        # mark (gcsfs 2026.10, files that end in a carriage return). A stream has no marks.
        with open(file, "rb") as source, self._files.open(place, "wb") as target:
            shutil.copyfileobj(source, target)

    def _info(self, name: str) -> dict[str, Any]:
        self._files.invalidate_cache()
        return dict(self._files.info(f"{self._root}/{name}"))

    def write(self, name: str, data: bytes) -> None:
        """Writes a small file."""
        with self._explained("write to"):
            self._files.pipe_file(f"{self._root}/{name}", data)

    def read(self, name: str) -> bytes | None:
        """Reads a small file; None where there is none."""
        with self._explained("read"):
            self._files.invalidate_cache()
            try:
                return bytes(self._files.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None

    def remove(self, names: Iterable[str]) -> None:
        """Removes files; one that is gone already is no error."""
        with self._explained("write to"):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{name}")

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Whatever a storage library raises, as a sentence: each has errors of its own."""
        try:
            yield
        except (InputError, FileNotFoundError):
            raise
        except Exception as error:
            reason = str(error).split("\n")[0][:200] or type(error).__name__
            raise InputError(
                f"cannot {what} {self.url} ({reason}): check the address and that this machine may "
                f"{what.split()[0]} there"
            ) from error


class Mirror:
    """A folder of this machine whose files are sent to a bucket as they change.

    At every moment the bucket holds a folder that can be gone on from: of a checkpoint, what says
    that it is whole is sent last and removed first. Use it as a context: sending goes on in a thread
    of its own while the block runs, and ends with everything.

    Attributes:
        bucket: where to.
        folder: from where.
    """

    def __init__(self, url: str) -> None:
        """See `Bucket` for errors."""
        self.bucket = Bucket(url)
        self.folder = self.bucket.copy_folder("runs")
        self._sent: _Record = {}
        self._busy, self._end = threading.Lock(), threading.Event()

    def __enter__(self) -> "Mirror":
        """Fetches what the bucket holds, unless what is here is newer."""
        tags, held = self.bucket.tags(), _read_record(self.folder)
        whole = _without_parts(tags)
        # Where the bucket is as this machine left it, what could not be sent then is still here.
        if not held or {name: entry[0] for name, entry in held.items()} != tags:
            held = _bring(self.bucket, self.folder, {name: tags[name] for name in whole})
        parts = {name: ["", 0, 0] for name in set(tags) - set(whole)}  # they will be removed
        self._sent = {**held, **parts}
        self._thread = threading.Thread(target=self._send_again_and_again, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end.set()
        self._thread.join()
        try:
            self.send()
        except InputError:
            if error is None:
                raise

    def send(self) -> None:
        """Sends what changed and removes what is gone; returns when the bucket is as the folder.

        Raises:
            InputError: the bucket cannot be written to; what is here stays here.
        """
        with self._busy:
            try:
                self._send()
            finally:
                _write_record(self.folder, self._sent)

    def _send(self) -> None:
        here = {name: _state(self.folder / name) for name in _names(self.folder)}
        for name in sorted(set(self._sent) - set(here), key=_is_marker, reverse=True):
            self.bucket.remove([name])
            del self._sent[name]
        changed = [name for name, state in here.items() if self._sent.get(name, [""])[1:] != state]
        for name in sorted(changed, key=lambda name: (_is_marker(name), name)):
            # A file may be replaced or removed meanwhile: the next round sees it.
            with contextlib.suppress(FileNotFoundError):
                self._sent[name] = [self.bucket.put(self.folder / name, name), *here[name]]

    def _send_again_and_again(self) -> None:
        told, last, whole = False, time.monotonic(), self._markers()
        while not self._end.wait(_LOOK):
            if time.monotonic() - last < _EVERY and self._markers() == whole:
                continue
            last, whole = time.monotonic(), self._markers()
            try:
                self.send()
            except InputError as error:
                if not told:
                    print(f"{error}; it is tried again", flush=True)
                told = True
            else:
                told = False

    def _markers(self) -> set[Path]:
        return set(self.folder.glob(f"**/{_MARKERS[0]}"))


def _bring(
    bucket: Bucket, folder: Path, tags: dict[str, str], needed: Iterable[str] | None = None
) -> _Record:
    """Copies the needed files that a folder does not hold, and removes those not among `tags`."""
    held = _read_record(folder)
    for name in _names(folder):
        if name not in tags:
            (folder / name).unlink(missing_ok=True)
    held = {name: entry for name, entry in held.items() if name in tags}
    for name in tags if needed is None else needed:
        file = _inside(folder, name)
        if held.get(name) != [tags[name], *_state(file)]:
            bucket.get(name, file)
            held[name] = [tags[name], *_state(file)]
            _write_record(folder, held)
    for path in sorted(folder.rglob("*"), reverse=True):  # or empty folders look like checkpoints
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return held


def _read_record(folder: Path) -> _Record:
    try:
        record: _Record = json.loads((folder / _RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record


def _write_record(folder: Path, record: _Record) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{_RECORD}.partial"
    partial.write_text(json.dumps(record))
    partial.replace(folder / _RECORD)


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder; InputError where its name leads out of it."""
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"a file in the bucket is called {name!r}, which leads out of its folder")
    return file


def _names(folder: Path) -> list[str]:
    """The files of a folder that are worth sending, relative to it."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return sorted(name for name in names if not _is_ours(name) and (folder / name).is_file())


def _is_ours(name: str) -> bool:
    """Whether a file belongs to the work on the folder, not to what is kept in it."""
    return any(fnmatch.fnmatch(part, pattern) for part in name.split("/") for pattern in _OURS)


def _without_parts(names: Iterable[str]) -> list[str]:
    """The names without those of checkpoints that were being sent when a job ended."""
    names = sorted(names)
    whole = {os.path.dirname(name) for name in names if os.path.basename(name) == _MARKERS[0]}
    kept = []
    for name in names:
        parts = name.split("/")
        checkpoint = len(parts) > 2 and parts[1].isdigit()
        if not checkpoint or "/".join(parts[:2]) in whole:
            kept.append(name)
    return kept


def _is_marker(name: str) -> bool:
    return os.path.basename(name) in _MARKERS


def _state(file: Path) -> list[int]:
    """What changes when a file is written."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return [0, 0]
    return [found.st_size, found.st_mtime_ns]


def _tag(info: dict[str, Any]) -> str:
    """What tells one content of a file from another; stores name it differently."""
    for key in ("ETag", "etag", "md5Hash", "generation"):
        if info.get(key):
            return str(info[key])
    changed = info.get("mtime") or info.get("created") or info.get("LastModified")
    return f"{info.get('size')} {changed}"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes of this machine out of a copy while it is brought up to date."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

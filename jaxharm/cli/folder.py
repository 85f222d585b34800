"""Folder mode: the loop that overlaps files and network, and survives whatever one file brings."""

import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm.cli.pairing import Pair
from jaxharm.cli.record import Record, describe
from jaxharm.errors import InputError
from jaxharm.progress import tracked

if TYPE_CHECKING:
    import numpy as np

    from jaxharm.cli.job import Loaded, Stopwatch
    from jaxharm.commands import ClipJob, Job, SeenT, SmoothedT
    from jaxharm.config import Json
    from jaxharm.images import MaskChoice

_item = threading.local()  # notes of the picture that a thread works on


class _FolderGoneError(Exception):
    """Results can no longer be written: going on would only take time."""


def make_output_folder(out_dir: Path, needed: int = 0) -> None:
    """Makes the folder and proves that it can be written to.

    Args:
        out_dir: folder of the results.
        needed: bytes that the results take at the very least.

    Raises:
        InputError: it cannot be written, or its disk has no room.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        _probe(out_dir)
        free = shutil.disk_usage(out_dir).free
    except OSError as error:
        raise InputError(f"cannot write to folder {out_dir}: {error.strerror}") from None
    if free < needed:
        raise InputError(
            f"the disk of {out_dir} has {free / 2**30:.1f} GiB left and the results need more than "
            f"{needed / 2**30:.1f} GiB; choose another folder"
        )


def _probe(out_dir: Path) -> None:
    """Writes and removes a file, as permission bits do not tell on every file system."""
    probe = out_dir / ".jaxharm-write-test"
    try:
        probe.write_bytes(b"\0" * 4096)
    finally:
        probe.unlink(missing_ok=True)


def run_pairs(job: "Job", files: "Files", pairs: Sequence[Pair]) -> None:
    """Harmonizes every pair; the next one is decoded, and the last one written, meanwhile."""
    with files:
        for pair, loaded in files.read_all(pairs):
            if loaded is not None:
                with files.noting(pair):
                    files.write(pair, loaded, job.run(pair.output.stem, loaded.inputs))


def run_clip(
    job: "ClipJob[SeenT, SmoothedT]", files: "Files", pairs: Sequence[Pair], todo: Sequence[Pair]
) -> None:
    """Harmonizes the frames `todo` of a clip, with predictions smoothed over all `pairs`.

    Every frame is decoded twice, to be seen and to be rendered when the frames after it are known:
    memory is that of a few frames, however long the clip.
    """
    wanted = {pair.composite for pair in todo}
    with files:

        def frames() -> "Iterator[SeenT | None]":
            for pair, loaded in files.read_all(pairs):
                frame = None
                if loaded is not None:
                    with files.noting(pair):
                        frame = job.look(pair.output.stem, loaded.inputs)
                # A frame that failed is None and not left out: it keeps its place in time.
                yield frame

        again, outcomes = files.read_all(todo), job.smooth(frames())
        for pair in pairs:
            smoothed = None
            with files.noting(pair):
                smoothed = next(outcomes)
            if pair.composite not in wanted:
                continue
            _, loaded = next(again)
            if loaded is not None and smoothed is not None:
                with files.noting(pair):
                    results = job.finish(pair.output.stem, loaded.inputs, smoothed)
                    files.write(pair, loaded, results)


class Files:
    """Reads ahead of the caller and writes behind it; collects what became of every pair.

    Attributes:
        done: composites whose result is written.
        failures: composites that failed, with the reason.
        notes: warnings by composite.
        stopped: why the work ended before the last pair; "" where it did not.
    """

    def __init__(self, watch: "Stopwatch", record: Record, choice: "MaskChoice") -> None:
        """`choice` is what the user says of all masks."""
        # Imported here, as these bring numpy and JAX: the checks before need neither.
        from jaxharm.cli.job import load_files, result_files, write_results

        self._load, self._name, self._save = load_files, result_files, write_results
        self.done: set[Path] = set()
        self.failures: dict[Path, str] = {}
        self.notes: dict[Path, list[str]] = {}
        self.stopped = ""
        self._watch, self._record, self._choice = watch, record, choice
        self._readers: list[ThreadPoolExecutor] = []
        self._writer = ThreadPoolExecutor(1)
        self._writing: tuple[Pair, Future[None]] | None = None
        self._sources: dict[Path, dict[str, Json]] = {}

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        gone = kind is _FolderGoneError
        try:
            self._finish()
        except _FolderGoneError:
            gone = gone or kind is None
        for pool in (*self._readers, self._writer):
            pool.shutdown(cancel_futures=True)
        return gone

    def read_all(
        self, pairs: Sequence[Pair], what: str = "harmonizing"
    ) -> "Iterator[tuple[Pair, Loaded | None]]":
        """Every pair with its files, or with None after noting why they cannot be used.

        `what` is shown while the caller works on them.
        """
        pool = ThreadPoolExecutor(1)
        self._readers.append(pool)

        def read(pair: Pair) -> "Loaded":
            with self._collecting(pair):
                self._sources[pair.composite] = describe(pair)
                files = pair.composite, pair.mask, pair.background
                return self._load(self._watch, *files, self._choice)

        # One image ahead, not more: each may take hundreds of megabytes.
        coming = pool.submit(read, pairs[0])
        for index, pair in enumerate(tracked(pairs, what, len(pairs))):
            current = coming
            if index + 1 < len(pairs):
                coming = pool.submit(read, pairs[index + 1])
            loaded = None
            with self.noting(pair):
                loaded = current.result()
            yield pair, loaded

    def write(self, pair: Pair, loaded: "Loaded", results: "Mapping[str, np.ndarray]") -> None:
        """Starts writing results; at most one image waits, so that memory stays bounded."""
        # The write before must be done: at most one encoded image waits for the disk.
        self._finish()
        self._watch.count(loaded.inputs)
        self._record.claim(pair, self._name(pair.output, results))
        sources, tags = self._sources[pair.composite], loaded.tags

        def write() -> None:
            with self._collecting(pair):
                self._record.begin(pair)
                files = self._save(self._watch, pair.output, results, tags)
                self._record.done(pair, sources, files)

        self._writing = pair, self._writer.submit(write)

    @contextmanager
    def noting(self, pair: Pair) -> Iterator[None]:
        """Turns whatever a pair raises into the reason why it failed; the others go on."""
        try:
            with self._collecting(pair):
                yield
        except _FolderGoneError:
            raise
        # A file of many may bring what nobody foresaw: the decoders are foreign.
        except Exception as error:
            self.failures.setdefault(pair.composite, reason_of(error))

    def _finish(self) -> None:
        """Waits until the result under way is written."""
        if self._writing is None:
            return
        pair, future = self._writing
        self._writing = None
        with self.noting(pair):
            future.result()
            self.done.add(pair.composite)
            return
        try:
            _probe(pair.output.parent)
        except OSError as error:
            self.stopped = f"nothing more can be written to the folder: {error.strerror}"
            raise _FolderGoneError from None

    @contextmanager
    def _collecting(self, pair: Pair) -> Iterator[None]:
        """Lets the warnings of this thread go to the pair."""
        before = getattr(_item, "notes", None)
        _item.notes = pair.composite.name, self.notes.setdefault(pair.composite, [])
        try:
            yield
        finally:
            _item.notes = before


def reason_of(error: Exception) -> str:
    """One sentence on why an item failed."""
    if isinstance(error, InputError):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"an error that was not foreseen, {text[:500]}"


def show_warning(message: object, *_: object, **__: object) -> None:
    """Shows a warning as one line, and keeps it for the picture that its thread works on."""
    nobody: tuple[str, list[str]] = ("", [])
    name, notes = getattr(_item, "notes", None) or nobody
    text = str(message)
    if text not in notes:
        notes.append(text)
    print(f"warning: {text if name in text else f'{name}: {text}'}", file=sys.stderr)

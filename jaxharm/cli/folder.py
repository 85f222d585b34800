"""Folder mode: which files belong together, and the loop that overlaps files and network."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm.errors import InputError
from jaxharm.images.codec import READ_SUFFIXES

if TYPE_CHECKING:
    import numpy as np

    from jaxharm.cli.job import Loaded, Stopwatch
    from jaxharm.commands import ClipJob, Job, SeenT, SmoothedT

_OTHER_ROLES = ("_mask", "_bg", "_real", "_gt")
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Pair:
    """The files of one composite; `mask` is None for a cut-out with alpha."""

    composite: Path
    mask: Path | None
    background: Path | None
    output: Path


def find_pairs(folder: Path, out_dir: Path) -> tuple[list[Pair], dict[Path, str]]:
    """Applies the pairing rule of `jaxharm harmonize --help`.

    Returns:
        The pairs in order of name, and for every composite without partner the reason.

    Raises:
        InputError: no such folder, or no composite in it.
    """
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist")
    named = [folder / name for name in ("composite_images", "comp") if (folder / name).is_dir()]
    composites = named[0] if named else folder
    files = _by_stem(composites)
    masks = [files, _by_stem(folder / "masks") | _by_stem(folder / "mask")]
    plates = [files, _by_stem(folder / "backgrounds"), _by_stem(folder / "bg")]
    plates.append(_by_stem(folder / "style"))
    pairs, failures = [], {}
    outputs: dict[Path, Path] = {}
    for stem in sorted(files):
        if stem.endswith(_OTHER_ROLES):
            continue
        for file in files[stem]:
            name = stem.removesuffix("_composite")
            output = out_dir / f"{name}{'.tif' if file.suffix.lower() in _TIFF else '.png'}"
            mask = _first(masks[0], [f"{name}_mask"]) or _first(masks[1], _mask_names(name))
            plate = _first(plates[0], [f"{name}_bg"])
            plate = plate or next(filter(None, (_first(p, [name]) for p in plates[1:])), None)
            # a.bmp and a.png would both become a.png: the second would silently replace the first.
            if output in outputs:
                failures[file] = f"its result would replace that of {outputs[output].name}"
            elif mask is None and plate is None:
                failures[file] = f"no mask: neither {name}_mask.* beside it nor masks/{name}.*"
            else:
                outputs[output] = file
                pairs.append(Pair(file, mask, plate, output))
    if not pairs and not failures:
        raise InputError(f"no composite in {composites}; known: {', '.join(READ_SUFFIXES)}")
    return pairs, failures


def make_output_folder(out_dir: Path) -> None:
    """Makes the folder and proves that it can be written to; InputError otherwise."""
    # Permission bits do not tell on every file system; only writing does.
    probe = out_dir / ".jaxharm-write-test"
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to folder {out_dir}: {error.strerror}") from None


def run_pairs(job: "Job", watch: "Stopwatch", pairs: Sequence[Pair]) -> dict[Path, str]:
    """Harmonizes every pair; the next one is decoded, and the last one written, meanwhile.

    Returns:
        For every composite that failed, the reason; the others are done.
    """
    with _Files(watch) as files:
        for pair, loaded in files.read_all(pairs):
            if loaded is not None:
                with files.note_failure(pair):
                    files.write(pair, loaded, job.run(pair.output.stem, loaded.inputs))
    return files.failures


def run_clip(
    job: "ClipJob[SeenT, SmoothedT]",
    watch: "Stopwatch",
    pairs: Sequence[Pair],
    todo: Sequence[Pair],
) -> dict[Path, str]:
    """Harmonizes the frames `todo` of a clip, with predictions smoothed over all `pairs`.

    Every frame is decoded twice, to be seen and to be rendered when the frames after it are known:
    memory is that of a few frames, however long the clip.

    Returns:
        For every composite that failed, the reason; the others are done.
    """
    wanted = {pair.composite for pair in todo}
    with _Files(watch) as files:

        def frames() -> "Iterator[SeenT | None]":
            for pair, loaded in files.read_all(pairs):
                frame = None
                if loaded is not None:
                    with files.note_failure(pair):
                        frame = job.look(pair.output.stem, loaded.inputs)
                # A frame that failed is None and not left out: it keeps its place in time.
                yield frame

        again = files.read_all(todo)
        for pair, smoothed in zip(pairs, job.smooth(frames()), strict=True):
            if pair.composite not in wanted:
                continue
            _, loaded = next(again)
            if loaded is not None and smoothed is not None:
                with files.note_failure(pair):
                    results = job.finish(pair.output.stem, loaded.inputs, smoothed)
                    files.write(pair, loaded, results)
    return files.failures


class _Files:
    """Reads ahead of the caller and writes behind it; collects the reasons of failures."""

    def __init__(self, watch: "Stopwatch") -> None:
        # Imported here, as these bring numpy and JAX: the checks before need neither.
        from jaxharm.cli.job import load_files, write_results

        self._load, self._save = load_files, write_results
        self.failures: dict[Path, str] = {}
        self._watch = watch
        self._readers: list[ThreadPoolExecutor] = []
        self._writer = ThreadPoolExecutor(1)
        self._writing: tuple[Pair, Future[list[Path]]] | None = None

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *error: object) -> None:
        self._finish()
        for pool in (*self._readers, self._writer):
            pool.shutdown(cancel_futures=True)

    def read_all(self, pairs: Sequence[Pair]) -> "Iterator[tuple[Pair, Loaded | None]]":
        """Every pair with its files, or with None after noting why they cannot be used."""
        pool = ThreadPoolExecutor(1)
        self._readers.append(pool)

        def read(pair: Pair) -> "Loaded":
            return self._load(self._watch, pair.composite, pair.mask, pair.background)

        # One image ahead, not more: each may take hundreds of megabytes.
        coming = pool.submit(read, pairs[0])
        for index, pair in enumerate(pairs):
            current = coming
            if index + 1 < len(pairs):
                coming = pool.submit(read, pairs[index + 1])
            loaded = None
            with self.note_failure(pair):
                loaded = current.result()
            yield pair, loaded

    def write(self, pair: Pair, loaded: "Loaded", results: "Mapping[str, np.ndarray]") -> None:
        """Starts writing results; at most one image waits, so that memory stays bounded."""
        # The write before must be done: at most one encoded image waits for the disk.
        self._finish()
        self._watch.count(loaded.inputs)
        written = self._writer.submit(
            self._save, self._watch, pair.output, results, loaded.icc_profile
        )
        self._writing = pair, written

    @contextmanager
    def note_failure(self, pair: Pair) -> Iterator[None]:
        """Turns bad input into the reason why this pair failed."""
        try:
            yield
        except InputError as error:
            self.failures.setdefault(pair.composite, str(error))

    def _finish(self) -> None:
        if self._writing is not None:
            pair, future = self._writing
            self._writing = None
            with self.note_failure(pair):
                future.result()


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Image files of a folder by name without suffix; empty where there is no such folder."""
    found: dict[str, list[Path]] = {}
    if folder.is_dir():
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in READ_SUFFIXES and not file.name.startswith("."):
                found.setdefault(file.stem, []).append(file)
    return found


def _first(files: Mapping[str, list[Path]], names: Sequence[str]) -> Path | None:
    return next((files[name][0] for name in names if name in files), None)


def _mask_names(name: str) -> list[str]:
    """Names in masks/: the composite's own, then the iHarmony4 one (<photo>_<object>)."""
    return [name, f"{name}_mask", *([name.rpartition("_")[0]] if name.count("_") >= 2 else [])]

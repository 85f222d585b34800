"""Folder mode: which files belong together, and the loop that overlaps files and network."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm.errors import InputError
from jaxharm.io import ImageFile, read_image, read_mask, write_image
from jaxharm.io.images import READ_SUFFIXES

if TYPE_CHECKING:
    import numpy as np

    from jaxharm.inference import Harmonizer

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
    composites = folder / "composite_images"
    composites = composites if composites.is_dir() else folder
    files = _by_stem(composites)
    masks = [files, _by_stem(folder / "masks")]
    plates = [files, _by_stem(folder / "backgrounds"), _by_stem(folder / "bg")]
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
            plate = plate or _first(plates[1], [name]) or _first(plates[2], [name])
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
    probe = out_dir / ".jaxharm-write-test"
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to folder {out_dir}: {error.strerror}") from None


def run_pairs(
    harmonizer: "Harmonizer", pairs: Sequence[Pair], *, strength: float = 1.0
) -> dict[Path, str]:
    """Harmonizes every pair; the next one is decoded, and the last one written, meanwhile.

    Returns:
        For every composite that failed, the reason; the others are done.
    """
    failures: dict[Path, str] = {}
    writing: dict[Path, Future] = {}
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming = reader.submit(_read, pairs[0])
        for index, pair in enumerate(pairs):
            current = coming
            if index + 1 < len(pairs):
                coming = reader.submit(_read, pairs[index + 1])
            try:
                image, mask, background = current.result()
                result = harmonizer(image.pixels, mask, background=background, strength=strength)
            except InputError as error:
                failures[pair.composite] = str(error)
                continue
            for done in list(writing):  # at most one result waits: memory stays bounded
                _finish(done, writing.pop(done), failures)
            writing[pair.composite] = writer.submit(
                write_image, pair.output, result, icc_profile=image.icc_profile
            )
        for done, future in writing.items():
            _finish(done, future, failures)
    return failures


def _finish(composite: Path, future: Future, failures: dict[Path, str]) -> None:
    try:
        future.result()
    except InputError as error:
        failures[composite] = str(error)


def _read(pair: Pair) -> "tuple[ImageFile, np.ndarray | None, np.ndarray | None]":
    return (
        read_image(pair.composite),
        None if pair.mask is None else read_mask(pair.mask),
        None if pair.background is None else read_image(pair.background).pixels,
    )


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

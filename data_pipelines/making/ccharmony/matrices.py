"""Reads ccHarmony's published matrices and compares them with our fits to its patch colors."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.images import ImageProblem
from data_pipelines.making.ccharmony.chart import parse_colors
from jaxharm.images.chart import STANDARD
from jaxharm.images.polynomial import TERMS, fit, residual

_REVERSE = "_reverse"
_EQUAL = 1e-6  # of matrix entries
_EITHER = "a folder or zip of"


@dataclass(frozen=True)
class Comparison:
    """The images whose published matrices our fits reproduce.

    Attributes:
        images: how many images were compared.
        forward, reverse: ids whose matrix equals the polynomial fit.
        linear: ids whose forward matrix equals the linear fit instead.
        other: ids whose forward matrix equals neither.
        medians: median over the images of the published matrices' root mean square patch error, to
            the standard light and from it, in levels of 0..255.
    """

    images: int
    forward: tuple[str, ...]
    reverse: tuple[str, ...]
    linear: tuple[str, ...]
    other: tuple[str, ...]
    medians: tuple[float, float]


def load_matrices(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reads `<image>.npy` (to the standard light) and `<image>_reverse.npy` of a folder or zip.

    Raises:
        DatasetValidationError: no such file, a matrix without its partner, or of another shape.
    """
    matrices = {}
    for name, data in _read(path, ".npy").items():
        try:
            # Without pickles, which could run code of whoever made the file.
            matrix = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64)
        except (ValueError, OSError, TypeError) as error:
            raise DatasetValidationError(f"{path}: {name}.npy cannot be read: {error}") from error
        if matrix.shape != (3, TERMS) or not np.isfinite(matrix).all():
            raise DatasetValidationError(f"{path}: {name}.npy is not a finite matrix [3, {TERMS}]")
        matrices[name] = matrix
    forward = {name for name in matrices if not name.endswith(_REVERSE)}
    backward = {name.removesuffix(_REVERSE) for name in set(matrices) - forward}
    if forward != backward:
        lone = sorted(forward ^ backward)[0]
        raise DatasetValidationError(f"{path} lacks one of {lone}.npy and {lone}{_REVERSE}.npy")
    return {name: (matrices[name], matrices[name + _REVERSE]) for name in sorted(forward)}


def compare(colors_path: Path, matrices_path: Path) -> Comparison:
    """Fits every matrix again from its patch colors and compares.

    Raises:
        DatasetValidationError: unreadable files, or ids that only one of the two has.
    """
    matrices = load_matrices(matrices_path)
    texts = _read(colors_path, ".csv")
    if set(texts) != set(matrices):
        lone = sorted(set(texts) ^ set(matrices))
        raise DatasetValidationError(
            f"{colors_path} and {matrices_path} are of different images, such as {lone[0]}"
        )
    found: dict[str, list[str]] = {kind: [] for kind in ("forward", "reverse", "linear", "other")}
    residuals = []
    for name, (forward, reverse) in matrices.items():
        try:
            colors = parse_colors(texts[name], f"{colors_path}: {name}.csv")
        except ImageProblem as problem:
            raise DatasetValidationError(str(problem)) from problem
        if _same(reverse, fit(STANDARD, colors)):
            found["reverse"].append(name)
        if _same(forward, fit(colors, STANDARD)):
            found["forward"].append(name)
        elif _same(forward, fit(colors, STANDARD, linear=True)):
            found["linear"].append(name)
        else:
            found["other"].append(name)
        residuals.append((residual(colors, STANDARD, forward), residual(STANDARD, colors, reverse)))
    medians = np.median(residuals, axis=0)
    lists = {kind: tuple(names) for kind, names in found.items()}
    return Comparison(len(matrices), **lists, medians=(float(medians[0]), float(medians[1])))


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(np.abs(first - second).max() <= _EQUAL)


def _read(path: Path, ending: str) -> dict[str, bytes]:
    """Stem -> bytes of the files of one ending in a folder or a zip archive."""
    try:
        if path.is_dir():
            found = {file.stem: file.read_bytes() for file in sorted(path.glob(f"*{ending}"))}
        else:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(ending)]
                found = {Path(name).stem: archive.read(name) for name in names}
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetValidationError(f"{path} is not {_EITHER} {ending} files: {error}") from error
    if not found:
        raise DatasetValidationError(f"{path} is not {_EITHER} {ending} files: it holds none")
    return found

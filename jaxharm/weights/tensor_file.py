"""Arrays by name as a safetensors file: the only place that writes any."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from safetensors.numpy import save

from jaxharm.errors import InputError
from jaxharm.images import write_whole


def tensor_bytes(tensors: Mapping[str, ArrayLike]) -> bytes:
    """The bytes of a safetensors file with these arrays, whatever their memory layout.

    Args:
        tensors: name -> array of any shape, of a dtype that safetensors knows.
    """
    # The library writes memory as it lies: of a transposed array it would store the values in
    # another order without an error, and of a reversed one memory that is not the array's.
    # `ascontiguousarray` would give a scalar a dimension.
    return save({name: np.asarray(array, order="C") for name, array in tensors.items()})


def write_network(
    out_dir: Path, file: str, tensors: Mapping[str, np.ndarray], about: Mapping[str, object]
) -> str:
    """Writes a network that is no model of the registry: its arrays, and manifest.json beside them.

    Args:
        out_dir: folder to write; made where it does not exist.
        file: name of the safetensors file in it.
        tensors: name -> array.
        about: entries of the manifest beside file, sha256 and number of parameters.

    Returns:
        The text of the manifest.

    Raises:
        InputError: the folder cannot be written.
    """
    data = tensor_bytes(tensors)
    manifest = {
        **about,
        "file": file,
        "sha256": hashlib.sha256(data).hexdigest(),
        "parameters": sum(array.size for array in tensors.values()),
    }
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out_dir}: {error.strerror}") from None
    text = json.dumps(manifest, indent=1)
    write_whole(out_dir / file, data)
    write_whole(out_dir / "manifest.json", f"{text}\n".encode())
    return text

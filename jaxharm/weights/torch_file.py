"""Official PyTorch files -> arrays, without running anything that a pickle may contain."""

import argparse
import hashlib
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jaxharm.errors import InputError


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the state dict of a .pth file.

    Accepts a plain state dict, or a dict that holds one under "state_dict" (beside other values,
    such as an epoch and arguments); a "module." prefix of all names is removed.

    Returns:
        Tensor name -> array, half precision widened to float32.

    Raises:
        InputError: PyTorch is not installed; the file is truncated, asks for code to be run, or
            holds something else than tensors by name.
    """
    path = Path(path)
    try:
        import torch
    except ImportError:
        raise InputError(
            f"reading {path} needs PyTorch: pip install 'jaxharm[torch]' (the CPU build is enough)"
        ) from None
    try:
        # Namespace is plain data: training scripts store their parsed arguments in one.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to PyTorch's developers
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} was refused: {_reason(error)}; only plain tensors are read, never code"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} is truncated or no PyTorch file: {_first_line(error)}") from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not _is_state_dict(content, torch.Tensor):
        raise InputError(f"{path} holds no state dict (tensors by name) but {_described(content)}")
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): _array(tensor, torch) for name, tensor in content.items()}


def check_file(path: Path) -> None:
    """InputError where there is no such file."""
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")


def describe_file(path: Path) -> dict[str, str]:
    """Name and hash of a file, for a manifest."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _is_state_dict(content: object, tensor_type: type) -> bool:
    return (
        isinstance(content, dict)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, tensor_type) for k, v in content.items())
    )


def _array(tensor: Any, torch: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.to(torch.float32) if tensor.is_floating_point() else tensor).cpu().numpy()


def _described(content: object) -> str:
    if isinstance(content, dict):
        keys = ", ".join(map(str, list(content)[:5]))
        return f"a dict with the keys {keys or '(none)'}"
    return f"a {type(content).__name__}"


def _reason(error: Exception) -> str:
    """What the restricted reader met, out of PyTorch's long advice."""
    text = str(error)
    for mark in ("Unsupported global: GLOBAL ", "Unsupported operand ", "Unsupported class "):
        if mark in text:
            return f"it asks for {text.split(mark, 1)[1].split()[0]}"
    return "its pickle is damaged or not of the safe kind"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

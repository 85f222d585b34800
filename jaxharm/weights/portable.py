"""Portable weights: one folder, `weights.safetensors` and `manifest.json`; no code in either."""

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from jaxharm import registry
from jaxharm.config import Json, ModelConfig, from_json, to_json
from jaxharm.errors import InputError
from jaxharm.images import read_file
from jaxharm.interfaces import Params
from jaxharm.storage import local_copy
from jaxharm.weights.tensor_file import tensor_bytes

WEIGHTS_FILE = "weights.safetensors"
MANIFEST_FILE = "manifest.json"
RUN_WEIGHTS = "weights"  # where a training run leaves its export, inside its work folder
_FORMAT = "jaxharm-weights-1"
_LARGEST_SIDE = 4096  # that a model may be said to predict at, in pixels


def save_weights(
    out_dir: str | Path,
    name: str,
    config: ModelConfig,
    variables: Params,
    extra: Json | None = None,
    *,
    half: bool = False,
) -> Json:
    """Writes `variables` of a model as a weights folder.

    Args:
        out_dir: folder to write; made where it does not exist, overwritten where it does.
        name: registry name of the model.
        config: its Config dataclass.
        variables: {"params": ..., "batch_stats": ...} of arrays.
        extra: further manifest entries, such as "source", "training" or those of a `WeightsCard`.
        half: stores matrices and kernels in float16, half the size; loading widens them. What
            is small or sensitive (biases, norms, running statistics) stays float32.

    Returns:
        The manifest: format, model, config, sha256, parameters, and `extra`.

    Raises:
        InputError: the folder cannot be written, or a number is too large for float16.
    """
    out_dir = Path(out_dir)
    tensors = _flatten(variables)
    if half:
        tensors = {key: _halved(key, np.asarray(array)) for key, array in tensors.items()}
    data = tensor_bytes(tensors)
    manifest = {
        "format": _FORMAT,
        "model": name,
        "config": to_json(config),
        "sha256": hashlib.sha256(data).hexdigest(),
        "parameters": sum(v.size for k, v in tensors.items() if k.startswith("params/")),
        "license": "not stated",
        **(extra or {}),
    }
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        _write(out_dir / WEIGHTS_FILE, data)
        _write(out_dir / MANIFEST_FILE, (json.dumps(manifest, indent=1) + "\n").encode())
    except OSError as error:
        raise InputError(f"cannot write weights to {out_dir}: {error.strerror or error}") from error
    return manifest


def load_weights(path: str | Path) -> tuple[str, ModelConfig, dict[str, Params]]:
    """Reads a weights folder.

    Returns:
        Name of the model, its Config, and its variables as nested dicts of numpy arrays.

    Raises:
        InputError: a file is missing or damaged, the model or its config is unknown, or the
            arrays are not exactly those of that model (missing, unknown and misshapen ones named).
    """
    path = Path(path)
    manifest = read_manifest(path)
    name = manifest["model"]
    file = path / WEIGHTS_FILE
    try:
        data = read_file(file)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise InputError(
            f"{file} ({len(data)} bytes) does not match the sha256 in {MANIFEST_FILE}: the copy is "
            "incomplete or damaged; fetch or export it again"
        )
    try:
        tensors = load_safetensors(data)
    except SafetensorError as error:
        raise InputError(f"{file} is not a safetensors file: {error}") from error
    _check_sizes(manifest["config"], tensors, path / MANIFEST_FILE)
    config = from_json(registry.get(name).config(), manifest["config"])
    variables = _unflatten({key: _widened(array) for key, array in tensors.items()})
    check_variables(variables, name, config, source=str(file))
    return name, config, variables


def load_variables(path: str | Path) -> tuple[str, ModelConfig, dict[str, Params]]:
    """Reads the weights of a weights folder, or those that a finished run left in its folder.

    Returns and raises as `load_weights`.
    """
    return load_weights(find_weights(path))


def find_weights(path: str | Path) -> Path:
    """The weights folder at `path`, or the one that a run left there; InputError without one.

    Of a folder in a bucket it is a copy. "shipped" are the weights that travel with the package.
    """
    path = local_copy(unless_shipped(path), _weights_only)
    if not path.is_dir():
        raise InputError(f"no weights at {path}: it is not a folder")
    for folder in (path, path / RUN_WEIGHTS):
        if (folder / MANIFEST_FILE).is_file():
            return folder
    raise InputError(
        f"no weights in {path}: neither it nor its folder {RUN_WEIGHTS}/ holds {MANIFEST_FILE} "
        "(a run exports its weights whenever it evaluates and when it ends)"
    )


def unless_shipped(place: str | Path) -> str | Path:
    """`place`, or the package's folder of weights for the word "shipped"; ./shipped is a folder."""
    return registry.shipped_folder() if place == registry.SHIPPED else place


def _weights_only(names: list[str]) -> list[str]:
    ours = (WEIGHTS_FILE, MANIFEST_FILE)
    return [name for name in names if name in ours or name.removeprefix(f"{RUN_WEIGHTS}/") in ours]


def read_manifest(path: str | Path) -> Json:
    """The manifest of a weights folder; InputError where it is missing or not of this format."""
    file = Path(path) / MANIFEST_FILE
    try:
        manifest: Json = json.loads(read_file(file))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # the latter: thousands of brackets
        raise InputError(f"{file} is not valid JSON ({error})") from error
    needed = {"format", "model", "config", "sha256"}
    if not isinstance(manifest, dict) or needed - set(manifest) or manifest["format"] != _FORMAT:
        raise InputError(f"{file} is not a {_FORMAT} manifest")
    return manifest


@functools.lru_cache(maxsize=32)  # tracing a network takes up to seconds
def variable_shapes(name: str, config: ModelConfig) -> Mapping[str, tuple[int, ...]]:
    """Maps "collection/path" to the shape of every variable of model `name` at `config`."""
    model = registry.build_model(name, config)
    side = config.min_size
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, side, side, 1), jnp.float32)
    tree = jax.eval_shape(
        lambda key, c, m: model.init(key, c, m, background=c), jax.random.key(0), image, mask
    )
    return MappingProxyType({key: tuple(leaf.shape) for key, leaf in _flatten(tree).items()})


def check_variables(
    variables: Params, name: str, config: ModelConfig, *, source: str = "the set of variables"
) -> None:
    """Raises InputError unless `variables` are exactly those of model `name` at `config`."""
    tensors, expected = _flatten(variables), variable_shapes(name, config)
    missing, unknown = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    shapes = [
        f"{key} is {list(tensors[key].shape)}, not {list(expected[key])}"
        for key in sorted(set(expected) & set(tensors))
        if tensors[key].shape != expected[key]
    ]
    problems = [
        f"{len(items)} {kind} ({', '.join(items[:4])}{', ...' if len(items) > 4 else ''})"
        for kind, items in (("missing", missing), ("unknown", unknown), ("misshapen", shapes))
        if items
    ]
    if problems:
        raise InputError(f"{source} does not fit model {name!r}: {'; '.join(problems)}")


def _check_sizes(config: Json, tensors: Mapping[str, np.ndarray], file: Path) -> None:
    """InputError for a number that these arrays cannot be of: building that model might never end."""
    longest = max((side for array in tensors.values() for side in array.shape), default=0)
    limit = max(longest, len(tensors), _LARGEST_SIDE)

    def numbers(values: Any) -> Iterator[int]:
        if isinstance(values, dict):
            values = list(values.values())
        if isinstance(values, list):
            for value in values:
                yield from numbers(value)
        elif isinstance(values, int):
            yield values

    for key, value in config.items():
        if any(number > limit for number in numbers(value)):
            raise InputError(f"{file}: {key}={value!r} does not belong to the arrays beside it")


def _halved(key: str, array: np.ndarray) -> np.ndarray:
    if array.ndim < 2 or not key.startswith("params/"):
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError(
            f"{key} holds {abs(array).max():g}, which is too large for float16: write float32"
        )
    return half


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _flatten(tree: Params) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(part.key) for part in path): leaf for path, leaf in leaves}


def _unflatten(tensors: Mapping[str, np.ndarray]) -> dict[str, Params]:
    tree: dict[str, Any] = {}
    for key, value in tensors.items():
        *parents, leaf = key.split("/")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[leaf] = value
    return tree


def _write(file: Path, data: bytes) -> None:
    """Writes beside the target and renames, so that a reader never sees half a file."""
    partial = file.with_name(file.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, file)

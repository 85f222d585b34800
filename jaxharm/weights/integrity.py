"""Whether a checkpoint's arrays and record are what was saved: a digest of each travels with it.

The array format notices files that are cut or missing, and most flipped bits it does not: they
would be read as weights.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from jaxharm.config import Json
from jaxharm.interfaces import PyTree

DIGEST, DIGESTS = "digest", "digests"  # keys of a record: its own, and those of the state's parts


def digests(parts: Mapping[str, PyTree]) -> dict[str, str]:
    """Part of a training state, such as "params" -> digest of all its arrays and their places."""
    return {name: _of_tree(tree) for name, tree in parts.items()}


def sealed(record: Json) -> Json:
    """The record with a digest of its own values."""
    return {**record, DIGEST: _of_record(record)}


def check_record(record: Json) -> None:
    """ValueError where a record is not what was saved; one from before there were digests passes."""
    if DIGEST in record and _of_record(record) != record[DIGEST]:
        raise ValueError("its record was changed")


def check_parts(record: Json, parts: Mapping[str, PyTree]) -> None:
    """ValueError, naming a part whose arrays are not those of the record's digests.

    Parts without a digest pass: the record is from before there were any.
    """
    saved = record.get(DIGESTS) or {}
    for name, found in digests({n: tree for n, tree in parts.items() if n in saved}).items():
        if found != saved[name]:
            raise ValueError(f"the arrays of {name} are not those that were saved")


def named_leaves(tree: PyTree) -> Iterator[tuple[str, PyTree]]:
    """Path and value of every leaf; alike for a state and for the mappings that a file gives back."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        parts = (getattr(k, "key", getattr(k, "name", getattr(k, "idx", k))) for k in path)
        yield "/".join(map(str, parts)), leaf


def _of_record(record: Json) -> str:
    values = {key: value for key, value in record.items() if key != DIGEST}
    text = json.dumps(values, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _of_tree(tree: PyTree) -> str:
    digest = hashlib.blake2b(digest_size=16)
    named = dict(named_leaves(tree))
    for name in sorted(named):
        array = _on_host(named[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _on_host(leaf: PyTree) -> np.ndarray:
    """The values of an array; every process has a whole copy."""
    if isinstance(leaf, jax.Array):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        leaf = leaf.addressable_data(0)
    return np.asarray(leaf)

"""What process 0 alone reads and writes, in the hands of all processes of a run.

Only process 0 needs the folder of a run: the machines of a pod share no disk.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxharm.errors import InputError

ValueT = TypeVar("ValueT")


def is_first() -> bool:
    """Whether this is process 0."""
    return jax.process_index() == 0


def of_first(make: Callable[[], ValueT]) -> ValueT:
    """What `make` returns in process 0, in every process; every process calls it.

    Args:
        make: called in process 0 only; returns what JSON holds.

    Raises:
        InputError: `make` raised it, whichever process asks.
        RuntimeError: `make` raised something else, in the other processes.
    """
    if jax.process_count() == 1:
        return make()
    error: Exception | None = None
    said: dict[str, Any] = {}
    if is_first():
        try:
            said = {"value": make()}
        except Exception as raised:  # the others must not wait for ever, whatever it is
            error = raised
            said = {"error": str(raised), "input": isinstance(raised, InputError)}
    said = json.loads(_spread(json.dumps(said).encode()))
    if error is not None:
        raise error
    if "error" in said:
        raise (InputError if said["input"] else RuntimeError)(said["error"])
    value: ValueT = said["value"]
    return value


def arrays_of_first(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The arrays of process 0, bit for bit, in every process.

    Args:
        arrays: in process 0 the values; in the others any arrays of the same shapes and dtypes.
    """
    if jax.process_count() == 1:
        return arrays
    # As bytes: what adds up a value and zeros would lose the sign of a zero.
    raw = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays]
    sent = multihost_utils.broadcast_one_to_all(raw)
    return [
        np.asarray(data).view(array.dtype).reshape(array.shape)
        for data, array in zip(sent, arrays, strict=True)
    ]


def _spread(data: bytes) -> bytes:
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    padded = np.zeros(length, np.uint8)
    if is_first():
        padded[:] = np.frombuffer(data, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes()

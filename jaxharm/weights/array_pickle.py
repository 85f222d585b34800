"""Arrays out of a pickle, without running anything that it may ask for.

A pickle is a program: reading one with Python's own reader runs whatever its author wrote. The few
names that a pickled numpy array refers to are answered here by stand-ins that only keep the numbers;
every other name is refused.
"""

import pickle
import pickletools
from collections.abc import Iterable
from io import BytesIO
from typing import ClassVar

import numpy as np

from jaxharm.errors import InputError

_FLOATS = ("f2", "f4", "f8")


class _Dtype:
    """In place of `numpy.dtype`: called with a code, then told the byte order."""

    def __init__(self, code: object, align: object, copy: object) -> None:
        del align, copy
        if code not in _FLOATS:
            raise pickle.UnpicklingError(f"it holds numbers of the kind {code!r}, not floats")
        self._code = code

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.dtype = np.dtype(f"{state[1]}{self._code}")


class _Array:
    """In place of `numpy.ndarray` and of the function that makes an empty one."""

    def __init__(self, kind: object, shape: object, code: object) -> None:
        del kind, shape, code  # the state brings them

    def __setstate__(self, state: tuple[object, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, kind, columns_first, data = state
        values = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if columns_first else "C")
        self.values = values.astype(np.float32)


class _Reader(pickle.Unpickler):
    _STAND_INS: ClassVar[dict[tuple[str, str], type]] = {
        ("numpy", "dtype"): _Dtype,
        ("numpy", "ndarray"): _Array,
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,  # its name since numpy 2
    }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self._STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._STAND_INS[module, name]


def read_array_pickle(
    data: bytes, paths: Iterable[tuple[str, ...]], *, source: str
) -> dict[tuple[str, ...], np.ndarray]:
    """Reads arrays of a pickled nested dict of numpy arrays.

    Args:
        data: the pickle, of protocol 3 or 4.
        paths: the keys that lead to each wanted array, from the outermost dict inwards.
        source: named in messages.

    Returns:
        Path -> f32 array.

    Raises:
        InputError: the data are no pickle, refer to anything but numpy arrays of floats, or lack
            one of `paths`.
    """
    try:
        _check_memo(data)
        content: object = _Reader(BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{source} was refused: {error}; only numpy arrays of floats are read, never code"
        ) from None
    except Exception:  # pickles of unknown origin make the reader fail in any way
        raise InputError(f"{source} is damaged or no pickle of numpy arrays") from None
    return {path: _array(content, path, source) for path in paths}


def _check_memo(data: bytes) -> None:
    """Refuses places in the reader's memory that no pickle of this length has things for."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "LONG_BINPUT" and isinstance(argument, int) and argument > len(data):
            raise pickle.UnpicklingError("it is damaged")


def _array(content: object, path: tuple[str, ...], source: str) -> np.ndarray:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    values = getattr(content, "values", None) if isinstance(content, _Array) else None
    if values is None:
        raise InputError(f"{source} lacks the array {'/'.join(path)}")
    return np.asarray(values)

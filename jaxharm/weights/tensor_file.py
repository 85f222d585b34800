"""Arrays by name as the bytes of a safetensors file: the only place that writes any."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from safetensors.numpy import save


def tensor_bytes(tensors: Mapping[str, ArrayLike]) -> bytes:
    """The bytes of a safetensors file with these arrays, whatever their memory layout.

    Args:
        tensors: name -> array of any shape, of a dtype that safetensors knows.
    """
    # The library writes memory as it lies: of a transposed array it would store the values in
    # another order without an error, and of a reversed one memory that is not the array's.
    # `ascontiguousarray` would give a scalar a dimension.
    return save({name: np.asarray(array, order="C") for name, array in tensors.items()})

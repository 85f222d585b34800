"""Safetensors files hold the values of an array, not its memory as it happens to lie."""

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from jaxharm.weights.tensor_file import tensor_bytes

ROOT = Path(__file__).parents[2]
ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        ARRAY.T,
        ARRAY.transpose(1, 0, 2),
        ARRAY[::-1],
        ARRAY[:, ::2],
        np.asfortranarray(ARRAY),
        np.broadcast_to(ARRAY[0], (5, 3, 4)),
        ARRAY.astype(">f4"),
        np.float32(7),
        ARRAY[:0],
    ],
)
def test_what_is_read_is_what_was_given(array):
    (found,) = load(tensor_bytes({"name": array})).values()
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_nothing_else_writes_safetensors():
    saving = re.compile(
        r"^\s*(import safetensors|from safetensors\S* import .*\bsave)", re.MULTILINE
    )
    writers = {
        str(file.relative_to(ROOT))
        for folder in ("jaxharm", "data_pipelines", "benchmarks", "configs", "launch", "tests")
        for file in (ROOT / folder).rglob("*.py")
        if saving.search(file.read_text(encoding="utf-8"))
    }
    assert writers == {"jaxharm/weights/tensor_file.py"}

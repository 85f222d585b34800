"""Pickles: arrays are read, whatever else they ask for is refused and not done."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from jaxharm.errors import InputError
from jaxharm.weights.array_pickle import read_array_pickle

ARRAYS = {
    "single": np.arange(6, dtype=np.float32).reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">f8"),
    "half": np.float16([0.5, 2]),
    "scalar": np.array(7, np.float32),
    "empty": np.zeros((0, 4), np.float32),
}
PATHS = [("net", name) for name in ARRAYS]


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("module", [b"numpy._core", b"numpy.core"])
def test_arrays_are_what_numpy_pickled(protocol, module):
    data = pickle.dumps({"net": ARRAYS}, protocol)
    if protocol == 3:  # names of protocol 4 carry their length
        data = data.replace(b"numpy._core", module)
    found = read_array_pickle(data, PATHS, source="a.ckpt")
    for name, array in ARRAYS.items():
        assert found["net", name].dtype == np.float32
        np.testing.assert_array_equal(found["net", name], array)


class _Command:
    """A pickle of this runs a shell command when Python reads it."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (OrderedDict(a=1), "asks for collections.OrderedDict"),
        ({"net": np.array(["text", 1], object)}, "kind 'O8', not floats"),
        ({"net": np.arange(3)}, "kind 'i8', not floats"),
        ({"net": np.float32(3)}, "asks for numpy._core.multiarray.scalar"),
        ({"net": {"half": ARRAYS["half"]}}, r"a\.ckpt lacks the array net/single"),
        ({"net": {"single": {"a": ARRAYS["half"]}}}, "lacks the array net/single"),
        ([ARRAYS["half"]], "lacks the array net/single"),
    ],
)
def test_other_content_is_refused(content, sentence):
    with pytest.raises(InputError, match=sentence):
        read_array_pickle(pickle.dumps(content, 3), PATHS, source="a.ckpt")


def test_no_command_is_run(tmp_path):
    data = pickle.dumps({"net": _Command(f"touch {tmp_path / 'done'}")}, 3)
    with pytest.raises(InputError, match=r"asks for posix\.system; only numpy arrays"):
        read_array_pickle(data, PATHS, source="a.ckpt")
    assert not (tmp_path / "done").exists()
    pickle.loads(data)  # what a plain reader does with it
    assert (tmp_path / "done").exists()


def test_damaged_data_are_refused():
    whole = pickle.dumps({"net": ARRAYS}, 3)
    stored_far = b"\x80\x03}r\xff\xff\xff\x7f."  # would take 16 GB of places for nothing
    state_of_class = b"\x80\x03cnumpy\nndarray\n}b."
    unfinished = b"\x80\x03cnumpy\nndarray\n)\x81."  # an array that is never given its values
    for data in (b"", b"text", whole[: len(whole) // 2], whole[:-1], stored_far, state_of_class):
        with pytest.raises(InputError, match=r"a\.ckpt (was refused|is damaged)"):
            read_array_pickle(data, PATHS, source="a.ckpt")
    with pytest.raises(InputError, match="lacks the array net/single"):
        read_array_pickle(unfinished, PATHS, source="a.ckpt")
    wrong_shape = whole.replace(b"K\x02K\x03\x86", b"K\x05K\x03\x86")
    assert wrong_shape != whole
    with pytest.raises(InputError, match="is damaged"):
        read_array_pickle(wrong_shape, PATHS, source="a.ckpt")

"""Official files are read without running code; what is not a state dict is refused."""

import argparse
import builtins
import pickle

import numpy as np
import pytest

from jaxharm.errors import InputError
from jaxharm.weights.torch_file import read_torch_file

torch = pytest.importorskip("torch", reason="PyTorch is an optional extra")


@pytest.fixture
def state():
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"epoch": 39, "state_dict": s, "args": argparse.Namespace(lr=1e-4)},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
    ],
    ids=["plain", "with args", "module prefix", "both"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_layouts_of_the_official_files(tmp_path, state, wrap, zipped):
    torch.save(wrap(state), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    loaded = read_torch_file(tmp_path / "a.pth")
    assert list(loaded) == ["a.weight", "b"]
    np.testing.assert_array_equal(loaded["a.weight"], [[0, 1, 2], [3, 4, 5]])
    assert loaded["b"] == 3


def test_half_precision_is_widened(tmp_path):
    torch.save({"w": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "a.pth")
    assert read_torch_file(tmp_path / "a.pth")["w"].dtype == np.float32


class Evil:
    def __reduce__(self):
        return (print, ("code in the pickle ran",))


@pytest.mark.parametrize("content", [Evil(), {"state_dict": {"w": Evil()}}])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_is_refused_not_run(tmp_path, capsys, content, how):
    file = tmp_path / "a.pth"
    if how == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"a\.pth was refused: .*; only plain tensors are read"):
        read_torch_file(file)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3}, "a dict with the keys epoch"),
        ({}, r"a dict with the keys \(none\)"),
        ([1, 2], "a list"),
        ({"state_dict": {"w": 1.0}}, "a dict with the keys w"),
    ],
)
def test_other_content_is_refused(tmp_path, content, found):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match=f"holds no state dict .* but {found}"):
        read_torch_file(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, state, zipped, share):
    file = tmp_path / "a.pth"
    torch.save({**state, "big": torch.zeros(1000)}, file, _use_new_zipfile_serialization=zipped)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.pth (is truncated|was refused)"):
        read_torch_file(file)


def test_something_else_than_a_checkpoint_is_refused(tmp_path):
    (tmp_path / "a.pth").write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"a\.pth"):
        read_torch_file(tmp_path / "a.pth")


def test_without_pytorch_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def no_torch(name, *args, **kwargs):
        if name == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(InputError, match=r"pip install 'jaxharm\[torch\]'"):
        read_torch_file(tmp_path / "a.pth")

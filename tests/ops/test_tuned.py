"""The file of measurements of a kind of device."""

import json

import pytest

from jaxharm.errors import InputError
from jaxharm.ops import tuned

ROW = {"chosen": "pallas_gpu", "trials": {}}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXHARM_CACHE", str(tmp_path))
    tuned.read.cache_clear()
    yield tmp_path
    tuned.read.cache_clear()


def test_rows_are_added_and_newer_ones_count():
    tuned.add("NVIDIA X1 80GB", {"a": ROW, "b": ROW})
    file = tuned.add("NVIDIA X1 80GB", {"b": {**ROW, "chosen": "reference"}})
    assert file.name == "NVIDIA_X1_80GB.json"
    assert tuned.best("NVIDIA X1 80GB", "a") == "pallas_gpu"
    assert tuned.best("NVIDIA X1 80GB", "b") == "reference"
    assert tuned.best("NVIDIA X1 80GB", "c") is None
    assert tuned.best("NVIDIA X2", "a") is None


def test_another_version_of_jax_does_not_count(monkeypatch):
    tuned.add("kind", {"a": ROW})
    monkeypatch.setattr(tuned.jax, "__version__", "0.0.1")
    tuned.read.cache_clear()
    assert tuned.best("kind", "a") is None


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"format": "jaxharm-tuned-1"}', "[" * 10**5])
def test_a_damaged_file_is_named_and_left_out(text):
    file = tuned.add("kind", {"a": ROW})
    file.write_text(text)
    tuned.read.cache_clear()
    with pytest.warns(UserWarning, match=r"kind.json is not used.*`jaxharm tune` writes it anew"):
        assert tuned.best("kind", "a") is None
    tuned.add("kind", {"a": ROW})
    assert json.loads(file.read_text())["rows"] == {"a": ROW}


def test_a_damaged_row_leaves_the_file_out():
    file = tuned.add("kind", {"a": ROW})
    file.write_text(file.read_text().replace('"chosen"', '"chose"'))
    tuned.read.cache_clear()
    with pytest.warns(UserWarning, match="is not used"):
        assert tuned.best("kind", "a") is None


def test_a_folder_that_cannot_be_written_is_named(monkeypatch, cache):
    (cache / "tuned").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*tuned.*JAXHARM_CACHE"):
        tuned.add("kind", {"a": ROW})

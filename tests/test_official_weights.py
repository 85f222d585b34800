"""Where official weights are, and that `jaxharm convert` sees of which model a file is."""

import json

import numpy as np
import pytest
from test_cli import toy_names

from jaxharm import registry
from jaxharm.__main__ import main
from jaxharm.convert import recognized
from jaxharm.weights import torch_file

OFFICIAL = [name for name in registry.list_models() if registry.get(name).torch_names]


def tensors(name):
    """An official checkpoint of a model: zeros by name and, where that decides, of its shape."""
    entry = registry.get(name)
    names = entry.torch_names()(registry.model_config(name, **entry.official))
    state = dict.fromkeys([*(rule.torch_name for rule in names.rules), *names.dropped])
    return {name: np.zeros(1, np.float32) for name in state}


def shares_names(name):
    """Whether another model's checkpoints have tensors of the same names."""
    wanted = set(tensors(name))
    others = [set(tensors(other)) for other in OFFICIAL if other != name]
    return any(wanted <= other or other <= wanted for other in others)


@pytest.mark.parametrize("name", [name for name in OFFICIAL if not shares_names(name)])
def test_a_model_is_recognized_by_its_tensors_alone(name):
    state = tensors(name)
    assert recognized(state) == [name]
    assert recognized(dict(list(state.items())[1:])) == []
    assert recognized({**state, "another.weight": np.zeros(1)}) == []


def test_two_models_with_the_same_tensors_are_told_by_shape(monkeypatch):
    """A smaller toy beside the toy."""
    entry = registry.get("toy")._replace(torch_names=lambda: toy_names)
    small = entry._replace(name="small", preset={"features": 3})
    monkeypatch.setitem(registry._ENTRIES, "toy", entry)
    monkeypatch.setitem(registry._ENTRIES, "small", small)
    assert recognized(toy_state(4)) == ["toy"]
    assert recognized(toy_state(3)) == ["small"]
    assert recognized(toy_state(5)) == []


def toy_state(features):
    state = {"in.weight": np.zeros((features, 4, 3, 3)), "out.bias": np.ones(3)}
    state["out.weight"] = np.ones((3, features, 1, 1))
    norm = ("weight", "bias", "running_mean", "running_var")
    return state | {f"norm.{name}": np.ones(features) for name in norm}


def test_models_says_where_weights_are_and_commands_that_can_be_typed(capsys):
    helpers = {name for entry in registry.entries() for name in entry.helpers}
    for name in registry.list_models():
        if name == "toy":
            continue
        entry = registry.get(name)
        assert entry.weights or entry.official_files
        assert main(["models", name]) == 0
        printed = capsys.readouterr().out
        for official in entry.official_files:
            assert official.page.startswith("https://")
            for line in (
                f"weights  {official.file} ({official.contents})",
                f"page     {official.page}",
                f"license  {official.license}",
                f"sha256   {official.sha256 or 'not known'}",
                f"use      {official.use}",
            ):
                assert line in printed
            words = official.use.split()
            assert words[:3] == ["python", "-m", "jaxharm"]
            if words[3] == "convert":
                assert words[4] in {name, *helpers}
                assert words[5] == official.file
            else:
                assert official.file in official.use


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of an official name; what it holds is what `hold` was given."""
    (tmp_path / "official.pth").write_bytes(b"anything")

    def hold(state):
        monkeypatch.setattr(torch_file, "read_torch_file", lambda path: state)
        return tmp_path / "official.pth"

    return hold


def failed(capsys, *arguments):
    assert main(["convert", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_wrong_name_is_corrected(file, tmp_path, capsys):
    right, wrong = OFFICIAL[0], OFFICIAL[-1]
    path = file(tensors(right))
    told = f"is of {right}, not of {wrong}: python -m jaxharm convert {right} {path} {tmp_path}/w"
    assert told in failed(capsys, wrong, path, tmp_path / "w")


def test_files_that_are_of_no_model_are_told_by_name_or_tensor(file, tmp_path, capsys):
    every = [file for entry in registry.entries() for file in entry.official_files]
    models = [f"convert {name} " for name in registry.list_models()]
    others = [file for file in every if not any(name in file.use for name in models)]
    assert [official.file for official in others if official.tensor]
    for official in others:
        path = tmp_path / official.file
        path.write_bytes(b"anything")
        use = official.use.replace(official.file, str(path))
        assert use in failed(capsys, path, tmp_path / "w")
        if official.tensor:
            path = file({official.tensor: np.zeros(1), "another": np.zeros(1)})
            use = official.use.replace(official.file, str(path))
            assert use in failed(capsys, path, tmp_path / "w")
            assert use in failed(capsys, OFFICIAL[0], path, tmp_path / "w")
    for name in OFFICIAL:
        assert not {official.tensor for official in others} & set(tensors(name))


def test_a_file_of_no_known_model_is_refused_with_what_to_type(file, tmp_path, capsys):
    path = file({"weight": np.zeros(1)})
    error = failed(capsys, path, tmp_path / "w")
    assert "its tensors are of no known model" in error
    assert f"python -m jaxharm convert NAME {path} {tmp_path}/w" in error
    name = OFFICIAL[0]
    assert name in error
    assert f"this is not a checkpoint of {name}" in failed(capsys, name, path, tmp_path / "w")
    missing = f"OUT_DIR is missing: python -m jaxharm convert {name} a.pth OUT_DIR"
    assert missing in failed(capsys, name, "a.pth")


def test_the_name_may_be_left_out_and_the_manifest_keeps_page_and_license(
    tmp_path, monkeypatch, capsys
):
    page = "https://example.com/toy"
    offered = registry.OfficialFile(
        "toy.pth", page, "toys", "CC0", "python -m jaxharm convert toy toy.pth w"
    )
    entry = registry.get("toy")._replace(
        torch_names=lambda: toy_names, official_files=(offered,), official={"dropout": 0.2}
    )
    monkeypatch.setitem(registry._ENTRIES, "toy", entry)
    monkeypatch.setattr(torch_file, "read_torch_file", lambda path: toy_state(4))
    for name, license_, source in (
        ("toy.pth", "CC0", {"page": page}),
        ("mine.pth", "not known", {}),
    ):
        (tmp_path / name).write_bytes(b"anything")
        assert main(["convert", str(tmp_path / name), str(tmp_path / "w")]) == 0
        manifest = json.loads(capsys.readouterr().out)
        assert (manifest["model"], manifest["license"]) == ("toy", license_)
        del manifest["source"]["sha256"]
        assert manifest["source"] == {"file": name, **source}

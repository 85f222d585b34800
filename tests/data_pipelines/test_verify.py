"""The command verify: damage is listed, and the exit status is 1."""

from pathlib import Path

import pytest
from support.fixtures_data import write_tree

from data_pipelines import build as build_command
from data_pipelines import verify as verify_command
from data_pipelines.build import build


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    lists = {"toy_train.txt": ["a_1_1.jpg", "b_1_1.jpg"], "toy_test.txt": ["t_1_1.jpg"]}
    return write_tree(tmp_path / "toy", lists)


def run_build(*arguments: object) -> int:
    return build_command.main([str(argument) for argument in arguments])


def run_verify(*arguments: object) -> int:
    return verify_command.main([str(argument) for argument in arguments])


def test_verify_lists_damage_and_ends_with_status_1(toy, tmp_path, capsys):
    data = tmp_path / "data"
    info = build("folder", manual_dir=toy, data_dir=data)
    (shard,) = info.path.glob("*train*")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:200] + bytes(8) + whole[208:])
    assert run_verify("toy", "--data-dir", data) == 1
    assert "cannot be read" in capsys.readouterr().out
    shard.unlink()
    assert run_verify("toy", "--data-dir", data) == 1
    capsys.readouterr()
    (info.path / "metadata.json").write_text("{")
    assert run_verify("toy", "--data-dir", data) == 1
    assert "is damaged" in capsys.readouterr().out
    assert run_verify("other", "--data-dir", data) == 2
    assert "not built" in capsys.readouterr().err

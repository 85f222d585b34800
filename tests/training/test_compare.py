"""Two runs side by side: equal, or the first step and field that differ."""

import json
import shutil

import pytest
from support.toy_run import run, run_config

from jaxharm.__main__ import main
from jaxharm.config import OptimConfig


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run twice, and one with another learning rate."""
    root = tmp_path_factory.mktemp("runs")
    run(run_config(steps=4), root / "a")
    run(run_config(steps=4), root / "again")
    run(run_config(steps=4, optim=OptimConfig(name="adam", lr=2e-2)), root / "other")
    return root


def compare(first, second, capsys):
    capsys.readouterr()
    status = main(["compare", str(first), str(second)])
    printed = capsys.readouterr()
    return status, printed.out.splitlines(), printed.err


def test_the_same_seed_twice_is_equal(runs, capsys):
    status, lines, _ = compare(runs / "a", runs / "again", capsys)
    assert status == 0
    assert lines == ["equal: 6 rows of the curves and 7 arrays of weights"]


def test_the_first_difference_is_told(runs, capsys):
    status, lines, _ = compare(runs / "a", runs / "other", capsys)
    assert status == 1
    assert lines[0] == "setting optim.lr: 0.01 and 0.02"
    # The first step starts from the same weights: its loss is equal, its rate is not.
    assert lines[1].startswith("curves: first difference at step 1, train lr: 0.0")
    assert lines[2].startswith("weights: first difference at batch_stats/norm/mean, entry")


def test_a_single_changed_number_is_found(runs, tmp_path, capsys):
    shutil.copytree(runs / "a", tmp_path / "b")
    rows = (tmp_path / "b/metrics.jsonl").read_text().splitlines()
    row = json.loads(rows[1])
    row["loss"] = row["loss"] * (1 + 1e-15) + 1e-15
    rows[1] = json.dumps(row)
    (tmp_path / "b/metrics.jsonl").write_text("\n".join(rows) + "\n")
    status, lines, _ = compare(runs / "a", tmp_path / "b", capsys)
    assert status == 1
    assert f"step {row['step']}, {row['kind']} loss" in lines[0]
    assert lines[1] == "weights: equal"


def test_a_shorter_run_and_missing_weights_are_told(runs, tmp_path, capsys):
    shutil.copytree(runs / "a", tmp_path / "b")
    rows = (tmp_path / "b/metrics.jsonl").read_text().splitlines()
    (tmp_path / "b/metrics.jsonl").write_text("\n".join(rows[:-1]) + "\n")
    shutil.rmtree(tmp_path / "b/weights")
    _, lines, _ = compare(runs / "a", tmp_path / "b", capsys)
    assert lines == [
        "curves: first difference at step 4, eval: there and missing",
        "weights: first difference at weights: there and missing",
    ]


def test_what_is_no_run_is_named(runs, tmp_path, capsys):
    status, _, error = compare(runs / "a", tmp_path, capsys)
    assert status == 2
    assert error == f"error: {tmp_path} holds no run: it has no run.json\n"

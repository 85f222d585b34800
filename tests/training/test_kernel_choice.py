"""What a run tries at its start, keeps in run.json, and takes from there when it is resumed."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest
from support.tiers import first_is_quick
from support.toy_run import run_config, toy_batch, toy_stream
from support.toy_system import ToySystem

from jaxharm.config import OpsConfig
from jaxharm.ops import dispatch, masked_moments, tuned
from jaxharm.ops.trial import Trial, Verdict
from jaxharm.training import kernel_choice, parallel
from jaxharm.training.kernel_choice import calls_of
from jaxharm.training.loop import train

# One image of the toy batch on each of 8 devices.
KEY = "masked_moments: float32[1, 8, 8, 3], float32[1, 8, 8, 1], 1e-05"


class MomentsSystem(ToySystem):
    """The toy system with an operation that has kernels in its loss."""

    def loss(self, ctx, output, batch, extras):
        loss, metrics = super().loss(ctx, output, batch, extras)
        mean, _ = masked_moments(output.image, batch.mask)
        return loss + 1e-3 * jnp.mean(mean), metrics


@pytest.fixture
def tried(monkeypatch, tmp_path):
    """Interpreted kernels count as those of this machine, and win; returns the calls tried."""
    monkeypatch.setenv("JAXHARM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(dispatch._RUNS_ON, "pallas_interpret", "cpu")
    monkeypatch.setattr(dispatch, "_logged", set())
    tuned.read.cache_clear()
    calls = []

    def try_all(call):
        calls.append(call.key)
        return Verdict("pallas_interpret", {"pallas_interpret": Trial(1.0, 1e-7)})

    monkeypatch.setattr(kernel_choice, "try_all", try_all)
    yield calls
    tuned.read.cache_clear()


def run(workdir, steps, **changes):
    config = run_config(steps, **changes)
    system = MomentsSystem.from_config(config, total_steps=steps)
    train(config, system, workdir, lambda start: toy_stream(8, start))
    return json.loads((workdir / "run.json").read_text())


def test_a_run_tries_its_calls_once_and_keeps_the_choice(tried, tmp_path, capsys):
    record = run(tmp_path / "run", 2)
    assert tried == [KEY]
    assert record["kernels"]["device"] == dispatch.device_kind()
    assert record["kernels"]["rows"][KEY] == {
        "chosen": "pallas_interpret",
        "trials": {"pallas_interpret": {"milliseconds": 1.0, "error": 1e-7, "reason": ""}},
    }
    assert record["operations"]["masked_moments"] == ["pallas_interpret"]
    assert "tried the kernels for 1 call on" in capsys.readouterr().out
    again = run(tmp_path / "run", 4)
    assert tried == [KEY]
    assert again["kernels"] == record["kernels"]
    assert "tried" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_goes_on_with_another_device_tries_again(tried, tmp_path):
    run(tmp_path / "run", 2)
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    record["kernels"]["device"] = "NVIDIA X1"
    file.write_text(json.dumps(record))
    assert run(tmp_path / "run", 4)["kernels"]["device"] == dispatch.device_kind()
    assert tried == [KEY, KEY]


@pytest.mark.slow
def test_a_damaged_choice_is_told_and_made_anew(tried, tmp_path, capsys):
    rows = run(tmp_path / "run", 2)["kernels"]["rows"]
    file = tmp_path / "run" / "run.json"
    file.write_text(file.read_text().replace('"chosen"', '"chose"'))
    capsys.readouterr()
    assert run(tmp_path / "run", 4)["kernels"]["rows"] == rows
    assert tried == [KEY, KEY]
    assert "run.json is damaged where it says which kernels" in capsys.readouterr().out


ROW = {"chosen": "reference", "trials": {}}


@pytest.mark.parametrize(
    "row", ["reference", {"trials": {}}, {**ROW, "chosen": "pallas_x"}, {"chosen": ["reference"]}]
)
def test_of_damaged_rows_the_others_are_kept(row):
    told = []
    assert kernel_choice._undamaged({"a": ROW, "b": row}, told.append) == {"a": ROW}
    assert len(told) == 1


@pytest.mark.parametrize("rows", [None, [KEY], "rows"])
def test_rows_that_are_none_are_told(rows):
    told = []
    assert kernel_choice._undamaged(rows, told.append) == {}
    assert len(told) == 1


def test_what_was_tuned_is_not_tried(tried, tmp_path):
    row = {"chosen": "reference", "trials": {}}
    tuned.add(dispatch.device_kind(), {KEY: row})
    assert run(tmp_path / "run", 2)["kernels"]["rows"] == {KEY: row}
    assert tried == []


@pytest.mark.parametrize(
    "changes",
    first_is_quick(
        [{"ops": OpsConfig(implementation="reference")}, {"parallel": "jit"}, {"parallel": "fsdp"}]
    ),
    ids=str,
)
def test_nothing_is_tried_where_there_is_no_choice(changes, tried, tmp_path):
    assert "kernels" not in run(tmp_path / "run", 1, **changes)
    assert tried == []


def test_nothing_is_tried_on_a_platform_without_kernels(tried, tmp_path, monkeypatch):
    monkeypatch.delitem(dispatch._RUNS_ON, "pallas_interpret")
    assert "kernels" not in run(tmp_path / "run", 1)
    assert tried == []


@pytest.mark.parametrize("mode", ["pmap", "shard_map"])
def test_calls_are_those_of_one_device(mode, tried):
    config = dataclasses.replace(run_config(1), parallel=mode)
    system = MomentsSystem.from_config(config, total_steps=1)
    calls = calls_of(system, mode, parallel.make_mesh(), toy_batch(0, 8))
    assert list(calls) == [KEY]
    assert jax.device_count() == 8

"""A run resumes only as the run that it was: what is compared, what is free, what is allowed by name."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from support.toy_run import curve, run_config, saved, toy_batch, toy_evaluate
from support.toy_system import ToyObjective

from jaxharm.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    LogConfig,
    OpsConfig,
    OptimConfig,
    SynthesisConfig,
    to_json,
)
from jaxharm.errors import InputError
from jaxharm.registry import make_system
from jaxharm.training.loop import train
from jaxharm.weights.same_run import compare_runs

DATASET = {"toy": {"splits": {"train": 9}, "fingerprint": "abc"}}


def go(config, workdir, *, dataset=DATASET, allow=()):
    def stream(start):
        while True:
            yield toy_batch(start, config.data.batch_size)
            start += 1

    system = make_system(config, total_steps=config.steps)
    options = {"dataset": dataset, "allow_changes": allow}
    return train(config, system, workdir, stream, toy_evaluate, **options)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("stopped")
    go(run_config(steps=4), workdir)
    return workdir


@pytest.fixture
def resumable(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    return tmp_path / "run"


def changed(part, **fields):
    return {part: dataclasses.replace(getattr(run_config(), part), **fields)}


DECIDES = {
    "optim.lr": changed("optim", lr=100.0),
    "optim.b1": changed("optim", b1=0.5),
    "optim.schedule": changed("optim", schedule="cosine"),
    "objective.weight": {"objective": ToyObjective(weight=2.0)},
    "data.image_size": changed("data", image_size=128),
    "data.mask_resize": changed("data", mask_resize="linear"),
    "data.augment.flip": changed("data", augment=AugmentConfig(flip=0.0)),
    "data.synthesis.probability": changed("data", synthesis=SynthesisConfig(probability=0.5)),
    "eval.protocol": changed("eval", protocol="phnet_256"),
    "eval.split": changed("eval", split="val"),
    "checkpoint.best": changed("checkpoint", best="psnr"),
    "accumulate": {"accumulate": 2},
    "ema_decay": {"ema_decay": 0.9},
    "precision": {"precision": "bfloat16"},
    "seed": {"seed": 3},
    "init_from": {"init_from": "elsewhere"},
}
FREE = {
    "log.every": {"log": LogConfig(every=2, images_every=4)},
    "checkpoint.keep": {"checkpoint": CheckpointConfig(every=2, keep=5)},
    "data.num_workers": {"data": DataConfig(batch_size=8, num_workers=2)},
    "data.data_dir": {"data": DataConfig(batch_size=8, data_dir="/moved")},
    "eval.batch_size": {"eval": EvalConfig(every=2, batch_size=3)},
    "parallel": {"parallel": "pmap"},
    "ops.implementation": {"ops": OpsConfig("reference")},
}


@pytest.mark.parametrize("key", DECIDES)
def test_what_decides_numbers_is_refused_by_its_name(tmp_path, key):
    old, new = run_config(), run_config(**DECIDES[key])
    record = {"config": to_json(old)}
    with pytest.raises(InputError) as error:
        compare_runs(tmp_path / "run/last/4", record, new)
    message = str(error.value)
    assert f"its {key} is " in message
    assert message.endswith(f"or go on all the same with --allow-change {key}")
    changes = compare_runs(tmp_path, record, new, allowed=[key])
    assert list(changes) == [key]


@pytest.mark.parametrize("key", FREE)
def test_what_changes_no_number_is_free_and_told(tmp_path, key):
    changes = compare_runs(tmp_path, {"config": to_json(run_config())}, run_config(**FREE[key]))
    assert list(changes) == [key]


def test_every_setting_is_refused_or_known_to_be_free(tmp_path):
    """A field that is added to the config is compared: nobody has to think of it."""
    saved_config = to_json(run_config())

    def leaves(values, prefix=""):
        for name, value in values.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"

    def with_other(values, key):
        name, _, rest = key.partition(".")
        return {**values, name: with_other(values[name], rest) if rest else "another value"}

    free, named = set(), {}
    for key in leaves(saved_config):
        record = {"config": with_other(saved_config, key)}
        try:
            compare_runs(tmp_path, record, run_config())
            free.add(key)
        except InputError as error:
            named[key] = f"its {key} is 'another value'" in str(error)
    assert all(named.values())
    log = {f"log.{field.name}" for field in dataclasses.fields(LogConfig)}
    assert free == {*FREE, *log, "checkpoint.every", "data.num_threads", "data.on_error"}


def test_the_length_matters_where_a_schedule_is_a_share_of_it(tmp_path):
    constant = OptimConfig()
    for optim, refused in ((constant, False), (OptimConfig(schedule="linear"), True)):
        old, new = (run_config(steps=steps, optim=optim) for steps in (6, 8))
        matters = make_system(new, total_steps=8).length_matters
        assert matters == refused
        record = {"config": to_json(old)}
        if refused:
            with pytest.raises(InputError, match="its steps is 6, this config's is 8"):
                compare_runs(tmp_path, record, new, length_matters=matters)
        else:
            assert list(compare_runs(tmp_path, record, new, length_matters=matters)) == ["steps"]


def test_several_changes_are_all_named_and_a_group_allows_them(tmp_path):
    record = {"config": to_json(run_config())}
    optim = OptimConfig(name="sgd", lr=3.0, b1=0.1)
    with pytest.raises(InputError) as error:
        compare_runs(tmp_path, record, run_config(optim=optim))
    assert "3 settings differ: optim.name, optim.lr, optim.b1" in str(error.value)
    assert "--allow-change optim.name --allow-change optim.lr" in str(error.value)
    assert len(compare_runs(tmp_path, record, run_config(optim=optim), allowed=["optim"])) == 3
    with pytest.raises(InputError, match=r"optim\.lrr: no such setting; did you mean optim\.lr"):
        compare_runs(tmp_path, record, run_config(), allowed=["optim.lrr"])
    with pytest.raises(InputError, match="cannot become one of another system"):
        compare_runs(tmp_path, record, run_config(), allowed=["system"])


def test_another_training_set_of_the_same_name_is_refused(resumable):
    other = {"toy": {**DATASET["toy"], "fingerprint": "xyz"}}
    with pytest.raises(InputError, match=r"its dataset\.toy\.fingerprint is 'abc', .* 'xyz'"):
        go(run_config(steps=6), resumable, dataset=other)
    go(run_config(steps=6), resumable, dataset=other, allow=["dataset"])
    record = json.loads((resumable / "run.json").read_text())
    assert record["dataset"] == other
    assert [begun["dataset"] for begun in record["starts"]][-1] == other
    assert record["starts"][0]["dataset"]["toy"]["fingerprint"] == "abc"


def test_a_refused_run_is_left_as_it_was(resumable):
    # What a run that was killed leaves: rows beyond its last checkpoint.
    with (resumable / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5, "kind": "train", "loss": 1.0}) + "\n")
    before = {path: path.read_bytes() for path in resumable.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"its optim\.lr is 0\.01, this config's is 100\.0"):
        go(run_config(steps=6, **DECIDES["optim.lr"]), resumable)
    after = {path: path.read_bytes() for path in resumable.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.slow
def test_an_allowed_change_is_told_recorded_and_takes_effect(resumable, stopped, tmp_path, capsys):
    capsys.readouterr()
    faster = run_config(steps=6, **changed("optim", lr=0.02))
    go(faster, resumable, allow=["optim.lr"])
    assert "changed since the last session: optim.lr 0.01 -> 0.02" in capsys.readouterr().out
    record = json.loads((resumable / "run.json").read_text())
    assert record["config"]["optim"]["lr"] == 0.02
    (session,) = record["resumed"]
    assert session["changes"] == {"steps": [4, 6], "optim.lr": [0.01, 0.02]}
    first, second = record["starts"]
    assert (first["config"]["optim"]["lr"], second["config"]["optim"]["lr"]) == (0.01, 0.02)
    assert (first["step"], second["step"]) == (0, session["step"])
    shutil.copytree(stopped, tmp_path / "plain")
    go(run_config(steps=6), tmp_path / "plain")
    assert saved(resumable, 6) != saved(tmp_path / "plain", 6)
    assert [row["lr"] for row in curve(resumable) if row["kind"] == "train"][-1] == np.float32(0.02)
    # From here on it is a run of the new rate: the same command needs no permission any more.
    go(dataclasses.replace(faster, steps=8), resumable)

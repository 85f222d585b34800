"""The loop in this process: resuming, what it writes, when it stops."""

import dataclasses
import json
import re
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from support import toy_run
from support.toy_run import curve, run, run_config, saved, toy_evaluate
from tensorboardX.proto.event_pb2 import Event

from jaxharm.config import CheckpointConfig, DataConfig
from jaxharm.errors import InputError
from jaxharm.registry import make_system
from jaxharm.training.loop import train_task
from jaxharm.training.run_folder import RunFolder
from jaxharm.training.session import DivergedError
from jaxharm.training.task import Programs, Task
from jaxharm.weights.portable import load_variables


class Interrupted(Exception):
    pass


def broken_stream(at):
    """The toy stream, ending in an error instead of batch `at`."""

    def stream(batch_size, start, rows):
        for step, batch in enumerate(toy_run.toy_stream(batch_size, start, rows), start):
            if step == at:
                raise Interrupted
            yield batch

    return stream


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    return workdir, run(run_config(), workdir)


def test_same_seed_twice_gives_the_same_bits(finished, tmp_path):
    run(run_config(), tmp_path)
    assert saved(tmp_path) == saved(finished[0])
    assert curve(tmp_path) == curve(finished[0])


def test_another_seed_gives_others(finished, tmp_path):
    run(run_config(seed=1), tmp_path)
    assert saved(tmp_path) != saved(finished[0])


def test_error_of_the_data_reaches_the_caller_and_rerun_resumes(finished, tmp_path, capsys):
    with pytest.raises(Interrupted):
        run(run_config(), tmp_path, stream=broken_stream(5))
    run(run_config(), tmp_path)
    assert "resumed at step 4" in capsys.readouterr().out
    assert saved(tmp_path) == saved(finished[0])
    assert curve(tmp_path) == curve(finished[0])


def test_finished_run_says_so(finished, capsys):
    workdir, state = finished
    before = curve(workdir)
    again = run(run_config(), workdir)
    assert "is finished (6 steps); nothing to do" in capsys.readouterr().out
    jax.tree.map(np.testing.assert_array_equal, state.params, again.params)
    assert curve(workdir) == before


@pytest.mark.slow
def test_a_longer_run_continues_the_shorter(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "longer")
    run(run_config(steps=8), tmp_path / "longer")
    run(run_config(steps=8), tmp_path / "whole")
    assert saved(tmp_path / "longer", 8) == saved(tmp_path / "whole", 8)


def test_as_many_states_as_asked_for_are_kept(tmp_path):
    for keep in (1, 3):
        folder = tmp_path / str(keep)
        run(run_config(steps=5, checkpoint=CheckpointConfig(every=1, keep=keep)), folder)
        kept = sorted(int(state.name) for state in (folder / "last").iterdir() if state.is_dir())
        assert kept == [3, 4, 5][-keep:]


def test_console_line(tmp_path, capsys):
    run(run_config(steps=2), tmp_path)
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("step 2/2"))
    number = r"[\d.e+-]+"
    assert re.fullmatch(
        rf"step 2/2  loss {number}  fg_error {number}  lr 0.01  {number} images/s  "
        r"data wait \d+%  ETA 0:00:00",
        line,
    )


def test_run_record(finished):
    record = json.loads((finished[0] / "run.json").read_text())
    assert record["config"]["data"]["batch_size"] == 8
    assert record["seed"] == 0
    assert record["devices"]["count"] == jax.device_count()
    assert record["versions"]["jax"] == jax.__version__


def events(workdir):
    """(step, value) of every summary in the run's event files (TFRecord framing)."""
    for file in sorted((workdir / "tensorboard").iterdir()):
        data = file.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            yield from ((event.step, value) for value in event.summary.value)
            data = data[16 + length :]


def test_tensorboard_holds_scalars_and_a_grid(finished):
    losses = [row["loss"] for row in curve(finished[0]) if row["kind"] == "train"]
    written = list(events(finished[0]))
    scalars = [v.simple_value for _, v in written if v.tag == "train/loss"]
    np.testing.assert_allclose(scalars, losses, rtol=1e-6)
    step, grid = next((step, v.image) for step, v in written if v.tag == "samples")
    assert (step, grid.height, grid.width) == (4, 4 * 8, 4 * 8)


def test_weights_are_those_of_the_best_evaluation(finished):
    workdir, state = finished
    best = min((r for r in curve(workdir) if r["kind"] == "eval"), key=lambda r: r["All/fmse"])
    manifest = json.loads((workdir / "weights" / "manifest.json").read_text())
    assert manifest["training"]["step"] == best["step"] == 6
    name, model_config, variables = load_variables(workdir)
    assert (name, model_config) == ("toy", run_config().model)
    jax.tree.map(np.testing.assert_array_equal, variables["params"], state.params["model"])


@pytest.mark.parametrize(("best", "kept", "value"), [("fmse", 4, 1.0), ("last", 6, 6.0)])
def test_which_evaluation_is_kept(tmp_path, best, kept, value):
    values = iter([3.0, 1.0, 2.0])

    class Fake:
        def __init__(self, predict):
            self.summary = {"All": {"fmse": next(values)}}
            self.baseline = {"All": {"fmse": 4.0}}

    config = run_config()
    config = dataclasses.replace(
        config, checkpoint=dataclasses.replace(config.checkpoint, best=best)
    )
    run(config, tmp_path, evaluate=Fake)
    assert [p.name for p in (tmp_path / "best").iterdir() if p.name.isdigit()] == [str(kept)]
    manifest = json.loads((tmp_path / "weights" / "manifest.json").read_text())
    assert manifest["training"]["best"] == {"step": kept, "metric": best, "value": value}


def test_where_no_evaluation_is_finite_the_last_weights_are_exported(tmp_path, capsys):
    def nothing(predict):
        return SimpleNamespace(summary={"All": {"fmse": float("nan")}}, baseline={"All": {}})

    run(run_config(), tmp_path, evaluate=nothing)
    printed = capsys.readouterr().out
    assert "fmse was never finite: the last weights are exported" in printed
    assert printed.splitlines()[-1].endswith(f"weights in {tmp_path / 'weights'}")
    manifest = json.loads((tmp_path / "weights/manifest.json").read_text())
    assert manifest["training"] == {"step": 6, "best": None}
    assert manifest["license"] == "not stated"
    assert [part["split"] for part in manifest["trained_on"]] == ["train"]


def test_non_finite_loss_stops_with_a_finite_state(tmp_path):
    def poisoned(batch_size, start, rows):
        for step, batch in enumerate(toy_run.toy_stream(batch_size, start, rows), start):
            yield batch.replace(mask=batch.mask * 0) if step == 4 else batch

    with pytest.raises(DivergedError, match=r"loss.* at step 5 \(samples \[32, 33,.*failed/5"):
        run(run_config(), tmp_path, stream=poisoned)
    state = toy_run.saved(tmp_path, 4)
    failed = toy_run.saved(tmp_path, 5, folder="failed")
    assert all(
        np.isfinite(np.frombuffer(v, np.float32)).all() for k, v in failed.items() if "params" in k
    )
    assert state.keys() == failed.keys()


def test_batch_that_does_not_fit_the_devices(tmp_path):
    config = dataclasses.replace(run_config(), data=DataConfig(batch_size=12))
    with pytest.raises(InputError, match=r"batch_size=12 cannot be split evenly over 8 devices"):
        run(config, tmp_path)
    with pytest.raises(InputError, match=r"accumulate=3: set data.batch_size to a multiple of 24"):
        run(run_config(accumulate=3), tmp_path)


def test_work_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to the work folder .*file/run"):
        run(run_config(), tmp_path / "file" / "run")


@pytest.mark.parametrize("name", ["last", "tensorboard", "weights"])
def test_a_file_where_a_run_keeps_a_folder_is_named(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name} is a file where a run keeps a folder"):
        run(run_config(), tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_damaged_records_of_a_run_do_not_end_it(finished, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    whole = (workdir / "metrics.jsonl").read_bytes()
    with (workdir / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n[1]\n{"kind": "train"}\n' + b"[" * 10**5 + b'\n{"step')
    (workdir / "run.json").write_text('{"config": {"see')
    with pytest.warns(UserWarning, match=r"line 10 of .*metrics.jsonl is damaged and left out"):
        run(run_config(), workdir)
    assert "is finished" in capsys.readouterr().out
    assert (workdir / "metrics.jsonl").read_bytes() == whole


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (range(3, 5), "3 to 4"),
        pytest.param(range(5, 100), "5 to 6", marks=pytest.mark.slow),
        pytest.param(range(7, 9), None, marks=pytest.mark.slow),
    ],
)
def test_a_profile_of_chosen_steps(finished, tmp_path, capsys, steps, message):
    config = run_config()
    system = make_system(config, total_steps=config.steps)

    def batches(start):
        return toy_run.toy_stream(8, start)

    task = Task(config, system, RunFolder(tmp_path), batches, toy_evaluate, profiled=steps)
    train_task(task, Programs(task))
    traces = list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert len(traces) == (1 if message else 0)
    if message:
        assert f"profile of steps {message} in {tmp_path}/profile" in capsys.readouterr().out
    assert saved(tmp_path) == saved(finished[0])

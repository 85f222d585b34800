"""Several seeds in one process leave what separate runs leave, and resume as those do."""

import dataclasses
import json
import os
import signal

import jax
import numpy as np
import pytest
from jax.experimental import io_callback
from support.toy_run import curve, run_config, saved, toy_batch, toy_evaluate
from support.toy_system import ToyConfig, ToySystem

from jaxharm.config import DataConfig, LogConfig, OptimConfig
from jaxharm.errors import InputError
from jaxharm.registry import make_system
from jaxharm.training.loop import train_task
from jaxharm.training.packed import train_seeds
from jaxharm.training.run_folder import RunFolder
from jaxharm.training.session import DivergedError
from jaxharm.training.task import Programs, Task
from jaxharm.weights.portable import load_variables

SEEDS = (3, 4)


def toy_stream(seed, start):
    step = start
    while True:
        yield toy_batch(1000 * seed + step, 8)
        step += 1


def toy_task(root, seed, *, stream=toy_stream, evaluate=toy_evaluate, system=None, **changes):
    config = run_config(seed=seed, **changes)
    system = system or make_system(config, total_steps=config.steps)
    folder = root / f"seed{seed}"
    return Task(config, system, RunFolder(folder), lambda start: stream(seed, start), evaluate)


def toy_tasks(root, **changes):
    return [toy_task(root, seed, **changes) for seed in SEEDS]


@pytest.fixture(scope="module")
def separate(tmp_path_factory):
    """The folder of both runs, each trained by itself."""
    root = tmp_path_factory.mktemp("separate")
    for task in toy_tasks(root):
        train_task(task, Programs(task))
    return root


def files(folder):
    """What lies in a run's folder; names deeper inside are drawn at random, those of logs hold a time."""
    found = {str(item.relative_to(folder)) for item in [*folder.glob("*"), *folder.glob("*/*")]}
    return {name for name in found if not name.startswith("tensorboard/")}


def assert_same_bits(root, separate):
    for seed in SEEDS:
        one, other = root / f"seed{seed}", separate / f"seed{seed}"
        assert files(one) == files(other)
        assert curve(one) == curve(other)
        for folder in ("last", "best"):
            assert saved(one, folder=folder) == saved(other, folder=folder)
        for name in ("weights.safetensors", "manifest.json"):
            assert (one / "weights" / name).read_bytes() == (other / "weights" / name).read_bytes()


def assert_close(root, separate):
    for seed in SEEDS:
        one, other = root / f"seed{seed}", separate / f"seed{seed}"
        assert files(one) == files(other)
        assert_curves_close(curve(one), curve(other), 1e-5)
        variables = [load_variables(folder)[2] for folder in (one, other)]
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *variables
        )


def assert_curves_close(ours, theirs, tolerance):
    assert [(row["step"], row["kind"], *row) for row in ours] == [
        (row["step"], row["kind"], *row) for row in theirs
    ]
    for row, other in zip(ours, theirs, strict=True):
        for name in row.keys() - {"kind"}:
            np.testing.assert_allclose(row[name], other[name], rtol=tolerance, err_msg=name)


@pytest.mark.slow
def test_both_ways_give_the_same_numbers(tmp_path):
    short = {"steps": 2, "log": LogConfig(every=1, images_every=0, tensorboard=False)}
    train_seeds(toy_tasks(tmp_path / "process", **short), "process")
    train_seeds(toy_tasks(tmp_path / "vmap", **short), "vmap")
    assert_close(tmp_path / "process", tmp_path / "vmap")
    curves = [curve(tmp_path / "vmap" / f"seed{seed}") for seed in SEEDS]
    assert curves[0][0]["loss"] != curves[1][0]["loss"]


@pytest.mark.slow
def test_one_after_the_other_gives_the_bits_of_separate_runs(separate, tmp_path, capsys):
    train_seeds(toy_tasks(tmp_path), "process")
    assert_same_bits(tmp_path, separate)
    assert f"seed 4: {tmp_path / 'seed4'}" in capsys.readouterr().out
    train_seeds(toy_tasks(tmp_path), "process")
    assert capsys.readouterr().out.count("is finished (6 steps)") == 2


@pytest.mark.slow
def test_all_at_once_gives_the_numbers_of_separate_runs(separate, tmp_path, capsys):
    train_seeds(toy_tasks(tmp_path), "vmap")
    assert_close(tmp_path, separate)
    assert "seed 4: step 6/6" in capsys.readouterr().out
    record = json.loads((tmp_path / "seed4" / "run.json").read_text())
    assert (record["seed"], record["seeds_in_one_program"]) == (4, [3, 4])
    train_seeds(toy_tasks(tmp_path), "vmap")
    assert capsys.readouterr().out.count("finished before (6 steps)") == 2


def stopping_at(step):
    """An evaluation that asks the process to stop, as a machine does that is taken away."""

    def evaluate(trained):
        if int(trained.state.step) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return toy_evaluate(trained)

    return evaluate


@pytest.mark.slow
def test_a_request_to_stop_saves_every_seed_and_all_go_on_together(separate, tmp_path, capsys):
    train_seeds(toy_tasks(tmp_path, evaluate=stopping_at(2)), "vmap")
    assert capsys.readouterr().out.count("stopped at step 3 on request") == 2
    assert [(tmp_path / f"seed{seed}/last/3").is_dir() for seed in SEEDS] == [True, True]
    train_seeds(toy_tasks(tmp_path), "vmap")
    assert capsys.readouterr().out.count("resumed at step 3") == 2
    assert_close(tmp_path, separate)


@pytest.mark.slow
def test_a_stop_in_the_first_seed_starts_no_second_one_and_the_rest_is_made_later(
    separate, tmp_path, capsys
):
    train_seeds(toy_tasks(tmp_path, evaluate=stopping_at(2)), "process")
    assert not (tmp_path / "seed4").exists()
    last = toy_tasks(tmp_path / "last", steps=2, evaluate=stopping_at(2))
    train_seeds(last, "process")
    assert "finished 2 steps" in capsys.readouterr().out
    assert not (tmp_path / "last/seed4").exists()
    train_seeds(toy_tasks(tmp_path), "vmap")
    printed = capsys.readouterr().out
    assert (
        "the seeds stand at different steps (seed 3 at 3, seed 4 at 0): the seeds are trained one "
        "after the other"
    ) in printed
    assert_same_bits(tmp_path, separate)


class Calling(ToySystem):
    """A system whose step calls the host in order: there is no order among mapped seeds."""

    def loss(self, ctx, output, batch, extras):
        io_callback(lambda step: None, None, ctx.step, ordered=True)
        return super().loss(ctx, output, batch, extras)


@pytest.mark.slow
def test_a_step_that_cannot_be_mapped_is_told_and_trained_one_by_one(separate, tmp_path, capsys):
    config = run_config(parallel="jit", data=DataConfig(batch_size=8))
    tasks = [
        toy_task(tmp_path, seed, parallel="jit", system=Calling.from_config(config, total_steps=6))
        for seed in SEEDS
    ]
    train_seeds(tasks, "vmap")
    printed = capsys.readouterr().out
    assert "the step of toy cannot be mapped over seeds (" in printed
    assert "): the seeds are trained one after the other" in printed
    for seed in SEEDS:
        ours, theirs = (curve(root / f"seed{seed}") for root in (tmp_path, separate))
        assert_curves_close(ours, theirs, 1e-5)
        record = json.loads((tmp_path / f"seed{seed}/run.json").read_text())
        assert "seeds_in_one_program" not in record


@pytest.mark.slow
def test_a_seed_that_diverges_is_named_and_the_others_keep_their_checkpoints(tmp_path):
    def poisoned(seed, start):
        for step, batch in enumerate(toy_stream(seed, start), start):
            yield batch.replace(mask=batch.mask * 0) if (seed, step) == (4, 4) else batch

    with pytest.raises(DivergedError, match=r"at step 5 .*seed4/failed/5.*go on .*--pack process"):
        train_seeds(toy_tasks(tmp_path, stream=poisoned), "vmap")
    assert (tmp_path / "seed3/last/4").is_dir()
    assert not (tmp_path / "seed3/failed").exists()


def test_runs_that_differ_in_more_than_the_seed_are_refused(tmp_path):
    first, second = toy_tasks(tmp_path)
    other = dataclasses.replace(second.config, optim=OptimConfig(name="adam", lr=0.5))
    with pytest.raises(InputError, match=r"optim.lr is 0.01 with seed 3 and 0.5 with seed 4"):
        train_seeds([first, dataclasses.replace(second, config=other)], "process")
    assert not (tmp_path / "seed3").exists()
    model = dataclasses.replace(second.config, model=ToyConfig(features=5))
    with pytest.raises(InputError, match=r"but model.features is 4 with seed 3 and 5 with seed 4"):
        train_seeds([first, dataclasses.replace(second, config=model)], "vmap")
    starts = [
        dataclasses.replace(task, config=dataclasses.replace(task.config, init_from=folder))
        for task, folder in ((first, "a"), (second, "b"))
    ]
    with pytest.raises(InputError, match=r"no weights at .*/a"):  # so far they may differ
        train_seeds(starts, "process")

"""train.py on real records: the command line, its exit statuses, kill -9 and the same command."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.fixtures_data import write_tree
from support.programs import xla_flags
from support.toy_run import curve, saved

import eval as eval_command
import train
from data_pipelines.build import build
from jaxharm.training.compare import compare_runs_in

ROOT = Path(train.__file__).resolve().parent
CONFIG = """
from support.toy_system import toy_config
from jaxharm.config import *

def get_config():
    return toy_config(
        steps=40,
        data=DataConfig(name="small", batch_size=8, image_size=32),
        eval=EvalConfig(data="small", batch_size=8),
        optim=OptimConfig(lr=1e-3),
        log=LogConfig(every=1, images_every=0, tensorboard=False),
        checkpoint=CheckpointConfig(every=4),
    )
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Arguments of train.py for a toy run on a small built data set."""
    root = tmp_path_factory.mktemp("command")
    lists = {
        "small_train.txt": [f"a{i}_1_1.jpg" for i in range(20)],
        "small_test.txt": ["b0_1_1.jpg", "b1_1_1.jpg"],
    }
    build(
        "folder",
        manual_dir=write_tree(root / "tree", lists),
        data_dir=root / "data",
        name="small",
    )
    only = {"only_train.txt": ["a0_1_1.jpg"]}
    build("folder", manual_dir=write_tree(root / "only", only), data_dir=root / "data")
    config = root / "configs" / "toy" / "run.py"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG)
    return ["--config", str(config), "--set", f"data.data_dir={root / 'data'}"]


def start(command, workdir):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tests"),
        "XLA_FLAGS": xla_flags(2),
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *command, "--workdir", str(workdir)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_kill_then_the_same_command_ends_bit_identical(command, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first, second = start(command, whole), start(command, killed)
    while not (killed / "last" / "8").is_dir():
        assert second.poll() is None, second.communicate()
        time.sleep(2e-3)
    second.kill()
    assert second.wait() == -9
    _, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    assert not (killed / "last" / "40").is_dir()
    again = start(command, killed)
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert "resumed at step" in output
    assert saved(killed, 40) == saved(whole, 40)
    assert curve(killed) == curve(whole)
    record = json.loads((killed / "run.json").read_text())
    assert record["dataset"]["small"]["splits"] == {"train": 20, "test": 2}
    assert len(record["dataset"]["small"]["fingerprint"]) == 64
    assert record["resumed"][0]["step"] >= 8
    evaluation = curve(whole)[-1]
    assert (evaluation["step"], evaluation["All/count"]) == (40, 2)


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--set", "data.batch_size=12"], "data.batch_size=12 cannot be split evenly over 8"),
        (["--set", "data.name=absent"], "data set 'absent' is not built"),
        (["--set", "eval.data=absent"], "data set 'absent' is not built"),
        (["--data", "small+absent"], "data set 'absent' is not built"),
        (["--data", "only"], "no split val, validation or test to evaluate on (only has train)"),
        (["--set", "optim.lrr=1"], "unknown config key 'optim.lrr'; did you mean lr"),
        (["--set", "eval.protocol=dovenet_test_256"], "dovenet_test_256 defines no fmse"),
        (["--overlay", "absent"], "unknown overlay 'absent'"),
        (["--set", "init_from=/nonexistent"], "no weights at /nonexistent"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(command, tmp_path, capsys, extra, sentence):
    status = train.main([*command, "--workdir", str(tmp_path), *extra])
    errors = capsys.readouterr().err
    assert status == 2
    assert errors.startswith("error: ")
    assert sentence in errors
    assert errors.count("\n") == 1


def test_divergence_is_status_1_with_a_message(command, tmp_path, capsys):
    extra = ["--set", "optim.lr=1e30", "--set", "optim.name=sgd"]
    assert train.main([*command, "--workdir", str(tmp_path), *extra]) == 1
    errors = capsys.readouterr().err
    assert "not finite at step" in errors
    assert "failed" in errors


@pytest.mark.slow
def test_a_run_is_repeated_from_its_record_and_gives_the_same_numbers(command, tmp_path, capsys):
    first, again = tmp_path / "first", tmp_path / "again"
    short = ["--set", "steps=3", "--set", "optim.b1=0.8"]
    assert train.main([*command, *short, "--workdir", str(first)]) == 0
    assert train.main(["--from-run", str(first), "--workdir", str(again)]) == 0
    comparison = compare_runs_in(first, again)
    assert comparison.equal
    assert comparison.settings == {}
    other = ["--from-run", str(first / "run.json"), "--set", "optim.lr=0.1"]
    assert train.main([*other, "--workdir", str(tmp_path / "other")]) == 0
    assert list(compare_runs_in(first, tmp_path / "other").settings) == ["optim.lr"]


def test_what_cannot_be_repeated_is_one_sentence(command, tmp_path, capsys):
    run = tmp_path / "run"
    assert train.main([*command, "--set", "steps=2", "--workdir", str(run)]) == 0
    record = json.loads((run / "run.json").read_text())
    changed = {**record, "resumed": [{"step": 1, "changes": {"optim.lr": [1, 2]}}]}
    rebuilt = json.loads(json.dumps(record).replace(record["dataset"]["small"]["fingerprint"], "x"))
    cases = {
        "it changed optim.lr at step 1": changed,
        "dataset.small.fingerprint was 'x', here it is": {**rebuilt, "config": record["config"]},
        "unknown OptimConfig keys ['speed']": {
            **record,
            "config": {**record["config"], "optim": {"speed": 3}},
        },
        "is no record of a run": {},
    }
    for number, (words, content) in enumerate(cases.items()):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(content))
        capsys.readouterr()
        assert train.main(["--from-run", str(file), "--workdir", str(tmp_path / "new")]) == 2
        error = capsys.readouterr().err
        assert words.removeprefix("dataset.") in error
        assert error.count("\n") == 1
    for extra, words in (
        (["--overlay", "smoke"], "a run's record holds its overlays already"),
        (command[:2], "either --config or --from-run"),
        (["--data", "small"], "--data goes with --config"),
    ):
        arguments = ["--from-run", str(run), *extra, "--workdir", str(tmp_path / "new")]
        assert train.main(arguments) == 2
        assert words in capsys.readouterr().err
    assert train.main(["--workdir", str(tmp_path / "new")]) == 2
    assert "--config is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_data_set_by_name_and_a_run_that_is_evaluated_by_its_folder(
    command, tmp_path, monkeypatch, capsys
):
    root = Path(command[1]).parents[2]
    config = tmp_path / "run.py"
    config.write_text(CONFIG.replace('"small"', '"elsewhere"'))
    monkeypatch.chdir(root)
    run = tmp_path / "run"
    arguments = ["--config", str(config), "--data", "only+small", "--overlay", "smoke"]
    settings = ["--set", "data.data_dir=data", "--set", "steps=2"]
    assert train.main([*arguments, *settings, "--workdir", str(run)]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("eval at step 2"))
    assert re.search(r"All/fmse \S+ \(composite \d\S+\)", line)
    record = json.loads((run / "run.json").read_text())["config"]
    assert (record["data"]["name"], record["data"]["split"]) == ("only+small", "train")
    assert (record["eval"]["data"], record["eval"]["split"]) == ("small", "test")
    assert record["data"]["data_dir"] == str(root / "data")

    def count(folder):
        return json.loads((run / folder / "metrics.json").read_text())["All"]["count"]

    monkeypatch.chdir(tmp_path)  # the data are found all the same
    config.unlink()
    assert eval_command.main(["--workdir", str(run)]) == 0
    assert f"metrics.json in {run}/eval\n" in capsys.readouterr().out
    assert count("eval") == 2
    assert eval_command.main(["--workdir", str(run), "--set", "eval.split=train"]) == 0
    assert count("eval_small_train") == 20
    for extra, words in (
        (
            ["--checkpoint", str(run / "weights")],
            "has no run.json: name the config of these weights",
        ),
        (["--workdir", str(run), "--overlay", "smoke"], "holds its overlays already"),
        (["--config", command[1], "--checkpoint", str(run / "weights")], "--out is missing"),
    ):
        assert eval_command.main(extra) == 2
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_an_allowed_change_goes_through_the_command_line(command, tmp_path, capsys):
    run = ["--workdir", str(tmp_path / "run"), "--set", "steps=2"]
    assert train.main([*command, *run]) == 0
    faster = [*command, *run, "--set", "optim.lr=0.5", "--set", "steps=3"]
    capsys.readouterr()
    assert train.main(faster) == 2
    refusal = capsys.readouterr().err
    assert "its optim.lr is 0.001, this config's is 0.5" in refusal
    # The remedy works as it is printed.
    remedy = refusal.strip().rpartition("go on all the same with ")[2].split()
    assert remedy == ["--allow-change", "optim.lr"]
    assert train.main([*faster, *remedy]) == 0


@pytest.mark.slow
def test_several_seeds_by_one_command_are_separate_runs(command, tmp_path, capsys):
    short = [*command, "--set", "steps=2"]
    one, both = tmp_path / "one", tmp_path / "both"
    assert train.main([*short, "--set", "seed=6", "--workdir", str(one)]) == 0
    assert train.main([*short, "--seeds", "5", "6", "--workdir", str(both)]) == 0
    comparison = compare_runs_in(one, both / "seed6")
    assert (comparison.equal, comparison.settings) == (True, {})
    assert list(compare_runs_in(both / "seed5", both / "seed6").settings) == ["seed"]
    capsys.readouterr()
    starts = ["--set", f"init_from={both}/seed{{seed}}", "--seeds", "5", "6", "--pack", "vmap"]
    assert train.main([*short, *starts, "--workdir", str(tmp_path / "on")]) == 0
    assert f"seed 6: started from the weights of {both}/seed6\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--pack", "vmap"], "name them with --seeds"),
        (["--seeds", "0", "1", "--set", "optim.lr=0.{seed}1"], "but optim.lr is 0.01 with seed 0"),
    ],
)
def test_seeds_that_cannot_be_trained_together(command, tmp_path, capsys, extra, sentence):
    assert train.main([*command, *extra, "--workdir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1

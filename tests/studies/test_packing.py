"""`jaxharm study --pack`: all seeds of a run are trained by one command, then measured one by one."""

import json
import sys

import pytest

from jaxharm.__main__ import main
from jaxharm.studies import run as study_run
from jaxharm.studies.ablation import load_study, plan
from jaxharm.studies.packing import packed_commands

CONFIG = "from support import toy_system\n\ndef get_config():\n    return toy_system.toy_config()\n"
STUDY = """
from jaxharm.studies.ablation import Run, Study

def get_study():
    config = {config!r}
    return Study(
        runs=(
            Run("shared", config, measured=False, once=True),
            Run("teacher", config, measured=False),
            Run("taught", config, sets=("init_from={{teacher}}", "optim.lr=0.5")),
            Run("copied", config, sets=("init_from={{shared}}",)),
        ),
        seeds=(3, 4),
    )
"""
# A stand-in for the commands train and eval: it notes its arguments, and as eval invents numbers.
SCRIPT = """
import json, pathlib, sys
name, arguments = sys.argv[1], sys.argv[2:]
folder = pathlib.Path(arguments[arguments.index("--workdir") + 1])
with pathlib.Path({calls!r}).open("a") as file:
    print(json.dumps([name, *arguments]), file=file)
if name == "eval":
    row = {{"fmse": 1.0, "psnr": 30.0, "count": 9}}
    result = {{"All": row, "baseline": {{"All": row}}, "protocol": "p",
              "statement": {{"evaluated": {{"data": "d val"}}}}}}
    (folder / "eval").mkdir()
    (folder / "eval" / "metrics.json").write_text(json.dumps(result))
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    (tmp_path / "toy").mkdir()
    config = tmp_path / "toy/config.py"
    config.write_text(CONFIG)
    (tmp_path / "study.py").write_text(STUDY.format(config=str(config)))
    (tmp_path / "command.py").write_text(SCRIPT.format(calls=str(tmp_path / "calls")))
    monkeypatch.setattr(study_run, "COMMAND", (sys.executable, str(tmp_path / "command.py")))
    return tmp_path


def made(study):
    """Command, name of the folder and seeds of every call."""
    found = []
    for line in (study / "calls").read_text().splitlines():
        name, *arguments = json.loads(line)
        folder = arguments[arguments.index("--workdir") + 1].removeprefix(f"{study / 'runs'}/")
        seeds = arguments[arguments.index("--seeds") + 1 :] if "--seeds" in arguments else []
        found.append((name, folder, *seeds))
    return found


def run(study, *more):
    arguments = ["--study", str(study / "study.py"), "--workdir", str(study / "runs")]
    return main(["study", *arguments, *more])


def test_runs_are_trained_in_order_with_all_their_seeds_and_then_measured(study, capsys):
    assert run(study, "--pack", "process") == 0
    assert made(study) == [
        ("train", "shared/once"),
        ("train", "teacher", "3", "4"),
        ("train", "taught", "3", "4"),
        ("train", "copied", "3", "4"),
        *(("eval", f"{name}/seed{seed}") for seed in (3, 4) for name in ("taught", "copied")),
    ]
    assert "training taught seeds 3, 4" in capsys.readouterr().out
    assert run(study, "--pack", "process") == 0
    assert len(made(study)) == 8


def test_what_is_finished_is_left_out(study):
    assert run(study, "--only", "copied", "--seeds", "3") == 0
    before = len(made(study))
    assert run(study, "--pack", "vmap", "--only", "copied") == 0
    assert made(study)[before:] == [("train", "copied/seed4"), ("eval", "copied/seed4")]


def test_a_folder_of_the_same_seed_is_named_for_any_seed(study):
    jobs = plan(load_study(study / "study.py"), study / "runs" / "seed3", ["data.name=seed3"])
    commands = dict(packed_commands(jobs, "vmap"))
    taught = commands["taught seeds 3, 4"]
    assert f"--set=init_from={study / 'runs/seed3/teacher'}/seed{{seed}}" in taught
    assert "--set=data.name=seed3" in taught
    assert not [item for item in taught if item.startswith("--set=seed")]
    assert taught[-5:] == ["--pack", "vmap", "--seeds", "3", "4"]
    assert f"--set=init_from={study / 'runs/seed3/shared'}/once" in commands["copied seeds 3, 4"]

"""Studies: what is planned, what is resumed, what the table says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxharm.__main__ import main
from jaxharm.errors import InputError
from jaxharm.studies import paired
from jaxharm.studies import run as study_run
from jaxharm.studies.ablation import Run, Study, load_study, plan, summarize, table

CONFIG = "from support import toy_system\n\ndef get_config():\n    return toy_system.toy_config()\n"
STUDY = """
from jaxharm.studies.ablation import Run, Study

def get_study():
    config = {config!r}
    return Study(
        runs=(
            Run("plain", config),
            Run("teacher", config, measured=False),
            Run("shared", config, measured=False, once=True),
            Run("taught", config, sets=("init_from={{teacher}}", "optim.lr=0.5")),
            Run("copied", config, sets=("init_from={{shared}}",)),
        ),
        seeds=(3, 4),
    )
"""
# A stand-in for the commands train and eval: it notes its arguments, and as eval invents numbers.
SCRIPT = """
import json, pathlib, sys, time
name = sys.argv[1]
arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
folder = pathlib.Path(arguments["--workdir"])
with (folder.parent.parent / "calls.txt").open("a") as file:
    print(name, folder.parent.name, folder.name, file=file)
seed = [a for a in sys.argv if a.startswith("--set=seed=")][-1][11:]
if (folder.parent.parent / "slow").exists():
    time.sleep(60)
if name == "eval":
    value = float(seed) + len(folder.parent.name)
    row = {"fmse": value, "psnr": 30.0, "count": 9}
    result = {"All": row, "baseline": {"All": {"fmse": 50.0, "psnr": 29.0}}, "protocol": "p",
              "statement": {"evaluated": {"data": "d val"}}}
    out = folder / "eval"
    out.mkdir()
    (out / "metrics.json").write_text(json.dumps(result))
    lines = [f"image{i},s,0.1,{value + i},{value + i},30.0" for i in range(3)]
    (out / "per_image.csv").write_text(
        "\\n".join(["composite_id,subset,fg_ratio,mse,fmse,psnr", *lines]))
else:
    rows = [{"step": s, "kind": "train", "loss": 1 / s, "lr": 1.0} for s in (1, 2, 3)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("\\n".join(map(json.dumps, rows)))
"""


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    (tmp_path / "toy").mkdir()
    config = tmp_path / "toy/config.py"
    config.write_text(CONFIG)
    (tmp_path / "study.py").write_text(STUDY.format(config=str(config)))
    (tmp_path / "command.py").write_text(SCRIPT)
    monkeypatch.setattr(study_run, "COMMAND", (sys.executable, str(tmp_path / "command.py")))
    monkeypatch.setattr(paired, "DRAWS", 20)  # of every report, after each run
    return tmp_path


def run(study: Path, *more: str) -> int:
    file, folder = study / "study.py", study / "runs"
    return main(["study", "--study", str(file), "--workdir", str(folder), *more])


def calls(study: Path) -> list[str]:
    return (study / "runs/calls.txt").read_text().splitlines()


def test_every_run_is_made_once_and_a_rerun_makes_nothing(study, capsys):
    assert run(study) == 0
    made = calls(study)
    assert made.count("train plain seed3") == made.count("eval plain seed3") == 1
    assert made.count("train shared once") == 1
    assert not [line for line in made if line.startswith("eval teacher")]
    assert made.index("train teacher seed4") < made.index("train taught seed4")
    assert len(made) == 3 * 2 * 2 + 2 + 1
    printed = capsys.readouterr().out
    assert (study / "runs/table.md").read_text() in printed
    assert run(study) == 0
    assert calls(study) == made
    assert "finished before" in capsys.readouterr().out


def test_a_run_that_failed_is_made_again(study, capsys):
    broken = SCRIPT.replace('if name == "eval":', 'if name == "eval":\n    raise SystemExit(2)')
    (study / "command.py").write_text(broken)
    with pytest.raises(SystemExit, match=r"eval of plain seed 3 ended with status 2"):
        run(study)
    (study / "command.py").write_text(SCRIPT)
    assert run(study, "--only", "plain", "--seeds", "3") == 0
    assert calls(study) == ["train plain seed3", "eval plain seed3"] * 2


def test_chosen_rows_bring_what_they_need(study):
    assert run(study, "--only", "taught", "--seeds", "7", "--set", "optim.b2=0.5") == 0
    assert calls(study) == ["train teacher seed7", "train taught seed7", "eval taught seed7"]
    assert list(json.loads((study / "runs/results.json").read_text())["rows"]) == ["taught"]


def test_one_job_alone_makes_its_run_and_the_reports(study, capsys):
    assert run(study, "--job", "4") == 2
    told = capsys.readouterr().err
    assert "job 4 (taught seed 3) starts from teacher seed 3, which is not finished" in told
    assert "--job 2" in told
    assert run(study, "--job", "11") == 2
    assert "has the jobs 1 to 9" in capsys.readouterr().err
    assert not (study / "runs").exists()
    assert run(study, "--report") == 0
    assert "no measured run is finished" in capsys.readouterr().out
    for number in ("2", "4", "4"):
        assert run(study, "--job", number) == 0
    assert calls(study) == ["train teacher seed3", "train taught seed3", "eval taught seed3"]
    assert list(json.loads((study / "runs/results.json").read_text())["rows"]) == ["taught"]
    assert "[4/9] taught seed 3: finished before" in capsys.readouterr().out
    assert run(study) == 0
    assert calls(study).count("train teacher seed3") == 1


def test_what_a_run_still_writes_is_no_result_yet(study):
    assert run(study, "--job", "1") == 0
    half = study / "runs/plain/seed4"
    (half / "eval").mkdir(parents=True)
    (half / "eval/metrics.json").write_text('{"All": {"fm')
    record = json.loads((study / "runs/plain/seed3/ablation.json").read_text())
    record["config"]["seed"], record["finished"] = 4, False
    (half / "ablation.json").write_text(json.dumps(record))
    assert run(study, "--report") == 0
    rows = json.loads((study / "runs/results.json").read_text())["rows"]
    assert rows["plain"]["seeds"] == [3]


@pytest.mark.parametrize("name", ["SLURM_PROCID", "JOB_COMPLETION_INDEX"])
def test_of_several_processes_the_first_one_keeps_the_books(study, monkeypatch, name):
    (study / "runs").mkdir()
    monkeypatch.setenv(name, "1")
    assert run(study, "--job", "1") == 0
    assert not (study / "runs/plain/seed3/ablation.json").exists()
    assert not (study / "runs/table.md").exists()
    monkeypatch.setenv(name, "0")
    (study / "command.py").write_text(SCRIPT.replace("out.mkdir()", "out.mkdir(exist_ok=True)"))
    assert run(study, "--job", "1") == 0
    assert (study / "runs/table.md").exists()


def test_other_settings_need_another_folder(study, capsys):
    assert run(study, "--only", "plain") == 0
    assert run(study, "--only", "plain", "--set", "data.data_dir=elsewhere") == 0
    assert run(study, "--only", "plain", "--set", "optim.lr=0.25") == 2
    told = capsys.readouterr().err
    assert "its optim.lr was 0.001 and is now 0.25" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"), [((), 0), pytest.param(("--job", "1"), 1, marks=pytest.mark.slow)]
)
def test_a_request_to_stop_reaches_the_run(study, arguments, status):
    """What started a single job must not take it for done."""
    (study / "runs").mkdir()
    (study / "runs/slow").touch()
    code = "import sys; from jaxharm.__main__ import main; from jaxharm.studies import run\n"
    code += f"run.COMMAND = (sys.executable, {str(study / 'command.py')!r})\n"
    code += "sys.exit(main(sys.argv[1:]))"
    arguments = ["--study", str(study / "study.py"), "--workdir", str(study / "runs"), *arguments]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "study", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (study / "runs/calls.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status
    assert "run the same command again" in output


def test_the_plan_fills_in_folders_and_keeps_records_free_of_them(study):
    jobs = plan(load_study(study / "study.py"), study / "runs", ["steps=5"])
    taught = next(job for job in jobs if job.run.name == "taught" and job.seed == 4)
    folder = study / "runs/teacher/seed4"
    assert taught.sets == (f"init_from={folder}", "optim.lr=0.5", "steps=5", "seed=4")
    assert taught.record["init_from"] == "{teacher}"
    copied = [job for job in jobs if job.run.name == "copied"]
    assert {job.sets[0] for job in copied} == {f"init_from={study / 'runs/shared/once'}"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace('"plain"', '"taught"'), "must differ"),
        (lambda text: text.replace('"plain"', '"a/b"'), "must differ"),
        (lambda text: text.replace("{teacher}", "{copied}"), "needs 'copied', which is no earlier"),
        (lambda text: text.replace("optim.lr", "optim.larning"), "unknown config key"),
        (lambda text: text.replace("get_study", "study"), "defines no get_study"),
        (lambda text: text.replace("toy/config", "toy/none"), "does not exist"),
    ],
)
def test_mistakes_are_told_before_any_run(study, capsys, change, says):
    file = study / "study.py"
    file.write_text(change(file.read_text()))
    assert run(study) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert not (study / "runs").exists()


def result(fmse, data="d val"):
    row = {"fmse": fmse, "psnr": 30.0, "ssim": None, "count": 9}
    return {
        "All": row,
        "baseline": {"All": {"fmse": 50.0, "psnr": 29.0, "ssim": None}},
        "protocol": "p",
        "statement": {"evaluated": {"data": data}},
    }


def test_differences_are_paired_by_seed():
    study = Study((Run("a", "x"), Run("b", "x")), seeds=(0, 1, 2))
    results = {
        "a": {0: result(10.0), 1: result(20.0), 2: result(30.0)},
        "b": {0: result(9.0), 1: result(18.0)},
    }
    summary = summarize(study, results)
    first, second = (summary["rows"][name]["metrics"]["fmse"] for name in "ab")
    assert (first["mean"], first["std"]) == (20.0, 10.0)
    assert "difference" not in first
    assert second["difference"]["values"] == {0: -1.0, 1: -2.0}
    assert second["difference"]["mean"] == -1.5
    assert set(summary["baseline"]) == {"fmse", "psnr"}
    text = table(summary)
    assert "| a | 3 | 20.00 ± 10.00 | 30.00 ± 0.00 |" in text
    assert "| b | 2 | -1.50 ± 0.71 | +0.00 ± 0.00 |" in text
    assert "| composite | | 50.00 | 29.00 |" in text
    alone = summarize(study, {"b": {0: result(9.0)}})
    assert "| b | 1 | 9.00 | 30.00 |" in table(alone)


def test_a_system_with_its_own_measures_has_its_own_columns():
    columns = {
        "distance": {"title": "D", "decimals": 3, "lower_is_better": True, "headline": True},
        "spared": {"title": "spared", "decimals": 1, "lower_is_better": False, "headline": False},
    }

    def measured(distance):
        return {
            "All": {"distance": distance, "spared": 1.0, "count": 4},
            "baseline": {"All": {"distance": 2.0, "spared": None}},
            "protocol": "p",
            "statement": {"evaluated": {"data": "d"}, "columns": columns},
        }

    study = Study((Run("a", "x"), Run("b", "x")), seeds=(0,))
    summary = summarize(study, {"a": {0: measured(0.5)}, "b": {0: measured(0.25)}})
    text = table(summary)
    assert "| run | seeds | D | spared |" in text
    assert "| composite | | 2.000 | - |" in text
    assert "| b | 1 | 0.250 | 1.0 |" in text
    assert "| b | 1 | -0.250 | +0.0 |" in text


def test_results_of_different_data_are_not_compared():
    study = Study((Run("a", "x"), Run("b", "x")))
    with pytest.raises(InputError, match="cannot be compared"):
        summarize(study, {"a": {0: result(1.0)}, "b": {0: result(1.0, "other val")}})

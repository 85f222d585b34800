"""A study written out as jobs: the files are valid, complete, and do what they say."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from jaxharm.__main__ import main
from jaxharm.config_file import published_configs
from jaxharm.errors import InputError
from jaxharm.studies.ablation import Job, Run, load_study, plan
from jaxharm.studies.job_files.options import PLACES, place
from jaxharm.studies.job_files.write import connected, direct_needs, groups, slug

# A stand-in for Slurm: it notes what is submitted, and numbers it.
SBATCH = """#!/bin/sh
echo "$@" >> "$CALLS"
echo "$((100 + $(wc -l < "$CALLS")));cluster"
"""
CONFIG = "from support import toy_system\n\ndef get_config():\n    return toy_system.toy_config()\n"
# Runs that start from one, from none and from two others, one of these made once for all seeds.
STUDY = """
from jaxharm.studies.ablation import Run, Study

def get_study():
    config = {config!r}
    return Study(
        runs=(
            Run("plain", config),
            Run("tuned", config, sets=("init_from={{plain}}",)),
            Run("teacher", config, measured=False, once=True),
            Run("taught", config, sets=("init_from={{teacher}}",)),
            Run("both", config, sets=("init_from={{taught}}", "data.name={{teacher}}")),
        ),
        seeds=(4, 5),
    )
"""
PLACE = {"jobset": ["--place=image=registry/jaxharm:1", "--place=claim=shared"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> str:
    """The file of a study."""
    folder = tmp_path_factory.mktemp("a_study")
    (folder / "toy").mkdir()
    (folder / "toy/config.py").write_text(CONFIG)
    file = folder / "study.py"
    file.write_text(STUDY.format(config=str(folder / "toy/config.py")))
    return str(file)


def write(study, kind, folder, *more):
    """Writes the jobs of a study whose work folder is /data/runs."""
    arguments = ["study", "--study", study, "--workdir", "/data/runs", "--out", str(folder)]
    assert main([*arguments, "--write-jobs", kind, *PLACE.get(kind, []), *more]) == 0


def job(number, *needs):
    return Job(Run(f"r{number}", "c"), 0, None, (), {}, number, needs, 8)


def test_jobs_are_grouped_by_what_they_start_from():
    jobs = [job(1), job(2, 1), job(3), job(4, 1), job(5, 2, 3), job(6)]
    found = groups(jobs)
    assert [(g.jobs, g.after) for g in found] == [
        ((1, 3, 6), ()),
        ((2, 4), ((1, 1),)),
        ((5,), ((2, 2), (1, 3))),
    ]
    assert [[j.number for j in of] for of in connected(jobs)] == [[1, 2, 3, 4, 5], [6]]
    chain = [job(1), job(2, 1), job(3, 1, 2)]
    assert direct_needs(chain, chain[2]) == (2,)


def test_slurm_is_told_every_run_once_and_what_it_waits_for(study, tmp_path, monkeypatch):
    place = ["--place", "partition=gpu", "--place", "options=--account=us --qos=low"]
    write(study, "slurm", tmp_path, *place)
    for name in ("submit.sh", "study.sbatch", "report.sbatch"):
        subprocess.run(["bash", "-n", str(tmp_path / name)], check=True)
    batch = (tmp_path / "study.sbatch").read_text()
    for line in ("--partition=gpu", "--account=us", "--qos=low", "--gpus-per-node=1"):
        assert f"\n#SBATCH {line}\n" in batch
    # Slurm reads its options up to the first command.
    assert batch.rindex("#SBATCH") < batch.index("\ncd ")
    sbatch = tmp_path / "bin/sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(SBATCH)
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    out = subprocess.run(
        ["sh", str(tmp_path / "submit.sh"), "--time=9"], check=True, capture_output=True, text=True
    ).stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    assert out == "submitted 101 102 103 104 105 106, reports 107\n"
    assert "--dependency=afterany:101:102:103:104:105:106 " in calls[-1]
    jobs = plan(load_study(study), tmp_path)
    waits = {}
    for call in calls[:-1]:
        after = re.search(r"--dependency=afterok(\S+)", call)
        assert "--time=9" in call
        for number in re.search(r"--array=(\S+)", call)[1].split(","):
            assert int(number) not in waits
            waits[int(number)] = after[1] if after else ""
    numbers = {task: i for i, c in enumerate(calls, 101) for task in tasks(c)}
    assert waits == {j.number: "".join(f":{numbers[n]}_{n}" for n in j.needs) for j in jobs}


def tasks(call):
    found = re.search(r"--array=(\S+)", call)
    return [int(n) for n in found[1].split(",")] if found else []


def test_the_slurm_task_runs_its_job(study, tmp_path, monkeypatch):
    write(study, "slurm", tmp_path, "--only", "tuned", "--set", "data.data_dir=/data/it's here")
    monkeypatch.setenv("JAXHARM", "echo jaxharm")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    out = subprocess.run(
        ["sh", str(tmp_path / "study.sbatch")], check=True, capture_output=True, text=True
    ).stdout
    words = f"jaxharm study --study {study} --workdir /data/runs"
    assert out == f"{words} --only tuned --set=data.data_dir=/data/it's here --job 2\n"


def test_jobsets_hold_every_run_once_in_an_order_that_works(study, tmp_path):
    write(study, "jobset", tmp_path, "--place=topology=4x4", "--set", "data.batch_size=16")
    text = (tmp_path / "study.yaml").read_text()
    sets = list(yaml.safe_load_all(text))
    jobs = {j.number: j for j in plan(load_study(study), tmp_path)}
    seen = []
    for of in sets:
        assert (of["apiVersion"], of["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
        earlier = set()
        for replicated in of["spec"]["replicatedJobs"]:
            number = int(replicated["name"].removeprefix("run-"))
            needed = {int(d["name"].removeprefix("run-")) for d in replicated.get("dependsOn", [])}
            assert needed <= earlier
            assert needed <= set(jobs[number].needs)
            assert bool(needed) == bool(jobs[number].needs)
            assert all(d["status"] == "Complete" for d in replicated.get("dependsOn", []))
            spec = replicated["template"]["spec"]
            assert (spec["parallelism"], spec["completions"]) == (4, 4)
            pod = spec["template"]["spec"]
            (container,) = pod["containers"]
            assert container["command"][-2:] == ["--job", str(number)]
            assert container["image"] == "registry/jaxharm:1"
            assert container["resources"]["limits"] == {"google.com/tpu": 4}
            assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "4x4"
            # <set>-<run>-<index>-<pod>-<random> must be a name of at most 63 characters.
            assert len(f"{of['metadata']['name']}-{replicated['name']}-0-15-abcde") <= 63
            earlier.add(number)
        seen += sorted(earlier)
    assert sorted(seen) == sorted(jobs)
    assert len(sets) == 3  # a run and its successor for each seed; all that the teacher serves
    assert len({of["metadata"]["name"] for of in sets}) == len(sets)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("name", [n for n in published_configs() if n.endswith("study_paper")])
def test_every_study_of_paper_size_can_be_written(tmp_path, kind, name, capsys):
    more = ["--place=topology=2x2"] if kind == "jobset" else []
    write(name, kind, tmp_path, *more)
    assert str(tmp_path) in capsys.readouterr().out
    count = len(plan(load_study(name), tmp_path))
    text = "".join(file.read_text() for file in sorted(tmp_path.glob("s*")))
    assert f"{count}" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--write-jobs", "jobset"], "needs --place image=IMAGE"),
        (["--write-jobs", "slurm", "--place", "queue=x"], "it has partition, time"),
        (["--write-jobs", "shell", "--place", "x"], "it has none"),
        (["--place", "time=1"], "go with --write-jobs"),
        (["--write-jobs", "jobset", *PLACE["jobset"], "--place=mount=/else"], "is not in /else"),
        (["--write-jobs", "jobset", *PLACE["jobset"], "--place=topology=4x"], "written like 4x4"),
        (["--write-jobs", "jobset", *PLACE["jobset"], "--place=chips=3"], "not made of hosts"),
        (["--write-jobs", "jobset", *PLACE["jobset"], "--set=data.batch_size=12"], "the 8 chips"),
    ],
)
def test_mistakes_are_one_sentence(study, tmp_path, capsys, arguments, says):
    out = [] if "time=1" in arguments else ["--out", str(tmp_path / "out")]
    words = ["study", "--study", study, "--workdir", "/data/runs", *out, *arguments]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_names_fit_kubernetes():
    assert slug("model/study_paper") == "model-study-paper"
    assert slug("9 Ä/x") == "study-9-x"
    assert len(slug("a" * 80)) == 30
    with pytest.raises(InputError, match="claim"):
        place("jobset", ["image=x"])


@pytest.mark.slow
def test_the_shell_script_makes_a_study_whose_equal_runs_differ_by_zero(tmp_path, demo_data_dir):
    study = tmp_path / "study.py"
    config = next(name for name in published_configs() if name.endswith("/demo"))
    study.write_text(
        "from jaxharm.studies.ablation import Run, Study\n\n"
        "def get_study():\n"
        "    small = {'overlays': ('smoke',), 'sets': ('eval.protocol=default_64',)}\n"
        f"    return Study((Run('a', {config!r}, **small), Run('b', {config!r}, **small)), (0, 1))\n"
    )
    words = ["study", "--study", str(study), "--workdir", str(tmp_path / "runs")]
    words += ["--write-jobs", "shell", f"--set=data.data_dir={demo_data_dir}"]
    assert main(words) == 0
    script = tmp_path / "runs/jobs/study.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    environment = {**os.environ, "JAXHARM": f"{sys.executable} -m jaxharm"}
    environment["XLA_FLAGS"] = ""  # one device: the batch is small
    for arguments in (["3"], []):
        subprocess.run(["sh", str(script), *arguments], check=True, env=environment)
    table = (tmp_path / "runs/table.md").read_text()
    for metric in ("fMSE", "MSE", "PSNR"):
        assert f"| b | {metric} | 2 | equal | +0.00 to +0.00 | 0.500 | 1 | - |" in table
    assert (tmp_path / "runs/report.html").read_text().count("<polyline") >= 2

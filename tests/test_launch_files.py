"""The files of launch/: the Slurm script with stand-ins for Slurm, the others by their formats."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file
from support import toy_run
from support.programs import xla_flags
from support.toy_run import curve

from jaxharm.config_file import load_config

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch"
STEPS = 24  # with half a second each: many are left when the run is asked to stop
# Starts the tasks of a step as Slurm does on one host, and passes signals on to them.
SRUN = """#!/bin/bash
tasks=()
for ((i = 0; i < {count}; i++)); do
    SLURM_PROCID=$i SLURM_LOCALID=$i "$@" &
    tasks+=($!)
done
trap 'kill -TERM "${{tasks[@]}}"' TERM
status=0
for task in "${{tasks[@]}}"; do
    wait "$task"
    while kill -0 "$task" 2>/dev/null; do wait "$task"; done
    wait "$task" || status=$?
done
exit $status
"""


def slurm_job(tmp_path, count):
    """The environment of a job whose `jaxharm train` is the toy run with batches that take a while."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (
        ("srun", SRUN.format(count=count)),
        ("scontrol", f'#!/bin/sh\necho "$@" >> {tmp_path}/requeued\n'),
        (
            "toy",
            f'#!/bin/sh\nexec {sys.executable} {toy_run.__file__} "$5" --steps {STEPS} --seconds 0.5\n',
        ),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "JAXHARM": "toy",
        "WORKDIR": str(tmp_path / "run"),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": xla_flags(1),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_NTASKS": str(count),
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_STEP_NODELIST": "localhost",
    }


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_the_slurm_script_stops_saves_is_queued_again_and_goes_on(tmp_path, count):
    environment = slurm_job(tmp_path, count)

    def start():
        command = ["bash", LAUNCH / "slurm.sbatch"]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    job, rows = start(), tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (rows.is_file() and '"step": 2' in rows.read_text()):
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    output = job.communicate(timeout=240)[0]
    assert job.returncode == 0, output
    assert "on request, everything is saved" in output
    assert (tmp_path / "requeued").read_text() == f"requeue {os.getpid()}\n"
    job = start()
    output = job.communicate(timeout=240)[0]
    assert job.returncode == 0, output
    assert "resumed at step" in output
    assert f"in {count} processes" in output
    assert (tmp_path / "requeued").read_text().count("\n") == 1
    assert [row["step"] for row in curve(tmp_path / "run") if row["kind"] == "train"] == [
        *range(1, STEPS + 1)
    ]
    assert load_file(tmp_path / "run" / "weights" / "weights.safetensors")


def test_the_shell_scripts_are_scripts():
    for name in ("slurm.sbatch", "tpu_vm.sh"):
        subprocess.run(["bash", "-n", LAUNCH / name], check=True)
    told = subprocess.run(
        ["sh", LAUNCH / "tpu_vm.sh"],
        env={**os.environ, "TPU": "x", "ZONE": "y"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 2
    assert "sh tpu_vm.sh install" in told.stdout


def test_the_jobset_has_a_pod_for_every_host_and_each_has_its_chips():
    jobset = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    (job,) = jobset["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    pod = spec["template"]["spec"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    (container,) = pod["containers"]
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert spec["parallelism"] == spec["completions"] == rows * columns // chips
    assert container["command"][:2] == ["jaxharm", "train"]
    settings = [o.removeprefix("--set=") for o in container["command"] if o.startswith("--set=")]
    config = next(o.partition("=")[2] for o in container["command"] if o.startswith("--config="))
    assert load_config(config, [], settings).data.batch_size % (rows * columns) == 0


def test_the_files_name_the_extras_and_folders_that_there_are():
    project = (ROOT / "pyproject.toml").read_text()
    for extra in ("tpu", "gcs", "cuda", "s3"):
        assert f"\n{extra} = [" in project
    docker = (LAUNCH / "Dockerfile").read_text()
    for line in docker.splitlines():
        if line.startswith("COPY"):
            assert all((ROOT / name).exists() for name in line.split()[1:-1])

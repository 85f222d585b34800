"""Two real processes with one device each, against one process with two devices."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support import toy_run
from support.ports import free_port
from support.programs import xla_flags

TOY_RUN = Path(toy_run.__file__)
WIDE = ("--features", "64")  # enough for arrays that parallel=fsdp splits


def start(workdir, *arguments, devices=1, **environment):
    return subprocess.Popen(
        [sys.executable, str(TOY_RUN), str(workdir), *arguments],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla_flags(devices), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_pair(workdir, *arguments):
    shared = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    return [start(workdir, *arguments, **shared, JAX_PROCESS_ID=str(i)) for i in range(2)]


def finish(processes):
    """Outputs of processes that must all end with status 0; none is left running."""
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


def numbers(workdir):
    """The trained weights and statistics, which any process can read."""
    return load_file(Path(workdir) / "weights" / "weights.safetensors")


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one")
    finish([start(workdir, *WIDE, devices=2)])
    return workdir


@pytest.mark.dist
@pytest.mark.parametrize(
    "parallel", ["shard_map", *(pytest.param(m, marks=pytest.mark.slow) for m in ("pmap", "fsdp"))]
)
def test_two_processes_agree_with_one(one_process, tmp_path, parallel):
    outputs = finish(start_pair(tmp_path, "--parallel", parallel, *WIDE))
    assert "2 x cpu in 2 processes, batch 8 (4 per device" in outputs[0]
    assert "step 6/6" in outputs[0]
    assert "step" not in outputs[1]  # only the first process writes text
    expected, got = numbers(one_process), numbers(tmp_path)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-4, atol=2e-6, err_msg=name)
    losses = [
        [row["loss"] for row in toy_run.curve(workdir) if row["kind"] == "train"]
        for workdir in (one_process, tmp_path)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.dist
@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_other_with_one_sentence(tmp_path):
    first, second = start_pair(tmp_path, "--seconds", "0.5")
    rows = tmp_path / "metrics.jsonl"
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and not (rows.is_file() and rows.read_text()):
            time.sleep(0.1)
        second.kill()
        output = first.communicate(timeout=60)[0]
    finally:
        first.kill()
        second.kill()
    assert first.returncode == 1
    last = output.splitlines()[-1]
    assert last.startswith("error: another process of the run is gone, so process 0 of 2 on ")
    assert "Traceback" not in output
    assert "step 6/6" in finish(start_pair(tmp_path))[0]


@pytest.mark.slow
@pytest.mark.dist
def test_a_process_that_does_not_come_is_named(tmp_path):
    coordinator = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}", "JAX_NUM_PROCESSES": "3"}
    alone = start(tmp_path, "--start-limit", "2", **coordinator, JAX_PROCESS_ID="0")
    output = alone.communicate(timeout=60)[0]
    assert alone.returncode == 2
    assert "error: of 3 processes, these did not come within 2 s: 1, 2; start them" in output

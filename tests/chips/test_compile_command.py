"""`jaxharm compile`, with this machine in the place of another one; the chips' own are in test_chips.py."""

import json
import subprocess
import sys

import pytest

from jaxharm.config_file import published_configs

DEMO = next(name for name in published_configs() if name.endswith("/demo"))
SMALL = ["--config", DEMO, "--overlay", "smoke", "--set", "data.batch_size=8"]


def run(*arguments):
    # A process of its own: the number of devices is fixed at their first use.
    return subprocess.run(
        [sys.executable, "-m", "jaxharm", "compile", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def sentence(*arguments):
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["shard_map", "pmap", "fsdp"])
def test_a_step_is_compiled_and_read(tmp_path, parallel):
    out, dump = tmp_path / "step.json", tmp_path / "dump"
    done = run(
        *SMALL,
        "--topology",
        "cpu:2",
        "--parallel",
        parallel,
        "--json",
        str(out),
        "--dump",
        str(dump),
    )
    assert done.returncode == 0, done.stderr
    assert "at 64x64, batch 8 on 2 x CPU device, float32" in done.stdout
    record = json.loads(out.read_text())
    step, prediction = record["training step"], record["prediction"]
    assert step["chips"] == 2
    assert step["images_per_chip"] == 4
    assert step["fits"]
    for part in (step, prediction):
        assert part["memory"]["needed"] > part["memory"]["held"] > 0
    assert step["collectives"]["kinds"]["all-reduce"] > 0
    assert prediction["collectives"]["count"] == 0
    assert step["operations"] > 1e7
    assert step["kernels"] == {}
    assert "estimate" not in done.stdout  # XLA for CPUs gives none
    assert (dump / "training_step.txt").read_text().startswith("HloModule")


def test_a_batch_that_does_not_fill_the_machine_names_the_choices():
    said = sentence(*SMALL, "--topology", "cpu:3")
    assert "data.batch_size=8 does not fill cpu:3 (3 chips, accumulate=1)" in said
    assert "--set data.batch_size=9" in said
    assert "at most 2 chips" in said


@pytest.mark.slow
def test_a_batch_that_fills_no_machine_names_one_that_does():
    said = sentence(*SMALL, "--set", "accumulate=3", "--topology", "cpu:2")
    assert said.endswith("(2 chips, accumulate=3): add --set data.batch_size=6")


def test_an_unknown_machine_names_the_known_ones():
    said = sentence(*SMALL, "--topology", "v99:2")
    assert "unknown machine 'v99:2'" in said
    assert "v5e" in said
    assert "h200" in said


@pytest.mark.slow
def test_kernels_of_another_platform_are_refused():
    said = sentence(*SMALL, "--topology", "cpu:2", "--set", "ops.implementation=pallas_tpu")
    assert "Pallas kernel for TPU" in said

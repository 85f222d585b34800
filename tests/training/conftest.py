"""What several tests of runs share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import xla_flags

TOY_RUN = Path(__file__).resolve().parents[1] / "support" / "toy_run.py"


@pytest.fixture(scope="session")
def toy_command():
    """Starts toy_run.py on two devices and returns (exit status, stdout, stderr)."""

    def command(*arguments, devices=2):
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": xla_flags(devices),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        done = subprocess.run(
            [sys.executable, str(TOY_RUN), *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout, done.stderr

    return command


@pytest.fixture(scope="session")
def undisturbed(toy_command, tmp_path_factory):
    """The work folder of one run of toy_run.py that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    status, _, errors = toy_command(workdir)
    assert status == 0, errors
    return workdir

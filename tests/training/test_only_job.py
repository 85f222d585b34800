"""Two jobs never share a work folder, and a job that died keeps nobody out."""

import subprocess
import sys

import pytest

from jaxharm.errors import InputError
from jaxharm.training.only_job import only_job

HOLD = """
import pathlib, sys, time
from jaxharm.training.only_job import only_job
with only_job(pathlib.Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_second_job_is_refused_until_the_first_ends(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        with (
            pytest.raises(InputError, match=f"another job is training in .*process {other.pid} on"),
            only_job(tmp_path),
        ):
            pass
        other.kill()
        other.wait()
    with only_job(tmp_path):
        pass
    with only_job(tmp_path):
        pass


def test_a_file_system_without_locks_lets_a_job_run(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with only_job(tmp_path):
        pass

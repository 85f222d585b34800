"""Settings of XLA at the start of a program."""

import os

import pytest

from jaxharm.compiler import save_memory_on_cpu

NAME = "xla_cpu_enable_concurrency_optimized_scheduler"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"--{NAME}=false"),
        ("--other=1", f"--other=1 --{NAME}=false"),
        (f"--{NAME}=true", f"--{NAME}=true"),
    ],
)
def test_the_users_own_schedule_stands(monkeypatch, before, after):
    monkeypatch.setenv("XLA_FLAGS", before)
    save_memory_on_cpu()
    assert os.environ["XLA_FLAGS"] == after

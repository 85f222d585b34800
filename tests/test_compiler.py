"""Settings of XLA for a program."""

import os
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import pytest

from jaxharm.cli import eval as eval_command
from jaxharm.cli import train as train_command
from jaxharm.compiler import matmul_precision, save_memory_on_cpu
from jaxharm.config_file import published_configs

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


def product():
    """A matrix product as the compiler gets it."""
    image = jnp.zeros((2, 2))
    return jax.jit(lambda x: x @ x).lower(image).as_text()


@pytest.mark.parametrize(("name", "asked"), [("highest", "HIGHEST"), ("high", "HIGH,")])
def test_products_are_as_exact_as_asked_in_every_thread(name, asked):
    assert "HIGH" not in product()
    with matmul_precision(name), ThreadPoolExecutor(1) as pool:
        assert asked in product()
        assert asked in pool.submit(product).result()
    assert "HIGH" not in product()


@pytest.mark.parametrize(
    ("command", "names", "more"),
    [
        (train_command, ("_task", "Programs", "train_task"), ()),
        (eval_command, ("_evaluate",), ("--out", "unused")),
    ],
)
def test_a_run_computes_products_as_its_config_says(monkeypatch, command, names, more):
    seen = set()
    for name in names:  # all that computes
        monkeypatch.setattr(
            command, name, lambda *_, **__: seen.add(jax.config.jax_default_matmul_precision)
        )
    config = next(name for name in published_configs() if "/study" not in name)
    named = ["--config", config, "--workdir", "unused", *more]
    assert command.main(named) == 0
    assert seen == {"highest"}
    assert command.main([*named, "--set", "matmul_precision=high"]) == 0
    assert seen == {"highest", "high"}

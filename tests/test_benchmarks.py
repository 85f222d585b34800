"""The benchmarks run: training steps of any config, folders of mixed files, mutated files."""

import argparse
import functools
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from jaxharm.chips.targets import CHIPS
from jaxharm.config_file import import_file, load_config, published_configs
from jaxharm.errors import InputError
from jaxharm.registry import make_system

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
train_step = import_file(BENCHMARKS / "train_step.py")
pytestmark = pytest.mark.slow  # tracing each of them takes seconds
NAMES = [name for name in published_configs() if "study" not in name]


@pytest.mark.parametrize("name", NAMES)
def test_any_config_can_be_measured(name):
    config = load_config(name, ["smoke"])
    system = make_system(config, total_steps=10)
    batch = train_step.random_batch(config, 2, config.data.image_size)
    state = jax.eval_shape(system.init, jax.random.key(0), batch)
    step = functools.partial(system.step, axis_name=None)
    after, metrics = jax.eval_shape(step, state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert "loss" in metrics
    assert jax.eval_shape(system.predict, state, batch).image.shape == batch.composite.shape
    assert train_step.stored_activations(system, state, batch) > 0


def test_a_folder_of_mixed_and_damaged_files_is_accounted_for(capsys):
    folder_of_files = import_file(BENCHMARKS / "folder_of_files.py")
    assert folder_of_files.main(["--count", "60", "--side", "48", "--repeats", "0"]) == 0
    assert "10 kinds of damage, 0 faults" in capsys.readouterr().out


def test_both_writers_of_png_hold_the_same_pixels(capsys):
    png_encoding = import_file(BENCHMARKS / "png_encoding.py")
    png_encoding.main(["--megapixels", "0.02", "--repeats", "1"])
    assert [line[:7] for line in capsys.readouterr().out.splitlines()[1:]] == ["libpng,", "jaxharm"]


def test_mutated_files_bring_a_result_or_a_sentence():
    # A process of its own: it forks, which JAX's threads do not survive.
    command = [sys.executable, str(BENCHMARKS / "fuzz_readers.py"), "--count", "200", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "200 files, 0 faults\n"
    assert done.returncode == 0


def _refuse(path):
    raise InputError("a sentence")


def _refuse_at_length(path):
    raise InputError("a sentence\nand a line")


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (lambda path: None, ""),
        (_refuse, ""),
        (_refuse_at_length, "several lines"),
        (lambda path: {}["key"], "KeyError: 'key'"),
        (lambda path: time.sleep(9), "more than 0.5 s"),
        (lambda path: bytearray(100 << 20).find(b"x"), "MiB of memory"),
    ],
)
def test_the_search_knows_a_fault(reader, words):
    fuzz_readers = import_file(BENCHMARKS / "fuzz_readers.py")
    limits = argparse.Namespace(seconds=0.5, mebibytes=50)
    before = signal.signal(signal.SIGALRM, fuzz_readers._too_long)
    try:
        found = fuzz_readers._try(reader, Path("a.txt"), limits)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert words in found
    assert bool(words) == bool(found)


@pytest.fixture
def chip_report(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)  # it imports its neighbors
    return import_file(BENCHMARKS / "chip_report.py")


def test_a_report_says_what_was_not_measured(tmp_path, chip_report):
    # Half a minute is enough to see the device, and for no step of a model.
    assert chip_report.main(["--out", str(tmp_path), "--minutes", "0.5"]) == 0
    text = (tmp_path / "report.md").read_text()
    assert text.startswith(f"# {jax.device_count()} x cpu, jax {jax.__version__}")
    assert "- tests: there is no chip here" in text
    assert re.search(r"- \S+/\S+, bfloat16, reference: (no time was left|it was stopped)", text)


@pytest.mark.parametrize(
    ("kind", "chip"), [("NVIDIA H200", "h200"), ("TPU v5 lite", "v5e"), ("TPU v6 lite", "v6e")]
)
def test_the_peak_of_a_device_is_found_by_its_name(kind, chip, chip_report):
    assert chip_report.peak_of(kind) == CHIPS[chip].peak
    assert chip_report.peak_of("NVIDIA GeForce GTX 1080") is None

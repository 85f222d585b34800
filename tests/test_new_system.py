"""A new system is three new folders: every test of all systems covers it, and no file changes."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "tests/support/new_system"
CODE = ("jaxharm", "data_pipelines", "configs", "tests", "benchmarks", "docs")
ROOMS = {
    "papers": "jaxharm/papers/tinter",
    "configs": "configs/tinter",
    "tests": "tests/papers/tinter",
}
# What is run there: the rules and the configs as a whole, the runs of the new system only.
RULES = ("tests/test_house.py", "tests/test_api.py", "tests/test_config.py")
RUNS = ("tests/training/test_every_system.py", "tests/inference/test_harmonize.py")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the code with the sixth system in it, and the digests of what was there before."""
    copy = tmp_path_factory.mktemp("checkout") / "jaxharm"
    for folder in CODE:
        skipped = shutil.ignore_patterns("__pycache__", "*.png", "new_system", Path(__file__).name)
        shutil.copytree(ROOT / folder, copy / folder, ignore=skipped)
    for file in [
        *ROOT.glob("*.py"),
        *ROOT.glob("*.toml"),
        *ROOT.glob("*.md"),
        *ROOT.glob("Makefile"),
    ]:
        shutil.copy(file, copy)
    before = digests(copy)
    for room, place in ROOMS.items():
        shutil.copytree(TEMPLATE / room, copy / place)
    return copy, before


def digests(folder: Path) -> dict[str, str]:
    """Path -> digest of every file below a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }


def run_tests(copy: Path, *arguments: str) -> str:
    """Runs pytest in the copy, and returns what it printed; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_hold_with_a_sixth_system(checkout):
    copy, before = checkout
    # Of the tests of single configs and overlays only the new system's: the others ran already.
    run_tests(copy, *RULES, "--quick", "-k", "tinter or not (config_builds or overlay or smoke)")
    after = digests(copy)
    assert {path: after[path] for path in before} == before
    assert all(path.startswith(tuple(ROOMS.values())) for path in set(after) - set(before))


@pytest.mark.slow
def test_every_test_of_all_systems_covers_the_sixth(checkout):
    copy, _ = checkout
    listed = run_tests(copy, *RUNS, "tests/distributed/test_launchers.py", "-k", "tinter", "-vv")
    assert listed.count("PASSED") >= 10
    assert "test_interrupted_run_ends_bit_identical[tinter]" in listed

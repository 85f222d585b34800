"""Every kernel through the chips' own compilers, without a chip, within limits; `.ci/chips` runs it.

It needs `pip install 'jaxharm[compile]'`, in an environment of its own, and is skipped elsewhere.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILE = ROOT / "benchmarks" / "compile_kernels.py"
BROKEN = ROOT / "tests" / "chips" / "broken_kernels.py"
GPUS, TPUS = ("a100", "h100", "b200"), ("v5e", "v6e")
# Kernel by Triton -> most registers of a thread, most bytes of shared memory of a block, at the models'
# sizes in float32 and bfloat16. One that grows beyond them holds fewer warps than docs/kernels.md says.
TRITON = {
    "apply_curves_forward": (48, 0),
    "apply_curves_backward": (168, 128),
    "dynamic_filter_forward": (32, 0),
    "dynamic_filter_d_image": (32, 0),
    "dynamic_filter_d_kernels": (32, 0),
    "region_sums": (168, 512),
    "region_blend": (80, 0),
    "region_gradient": (168, 128),
    "region_gradient_sums": (64, 512),
    "region_centered_gradient": (64, 128),
}
MOSAIC_GPU = {
    "region_sums": 184,
    "region_blend": 152,
    "region_gradient": 248,
    "region_gradient_sums": 176,
    "region_centered_gradient": 96,
}
VMEM = 12 * 2**20  # bytes of a kernel's blocks, of the 16 MiB that Mosaic lets it take
ODD = "1x131x111x"  # the size that no model has


def has(*modules):
    try:
        return all(importlib.util.find_spec(module) for module in modules)
    except ModuleNotFoundError:
        return False


needs_gpus = pytest.mark.skipif(
    not has("jax_cuda13_plugin", "nvidia.cu13"), reason="needs pip install 'jaxharm[compile]'"
)
needs_tpus = pytest.mark.skipif(not has("libtpu"), reason="needs pip install 'jaxharm[compile]'")


def grouped(chip):
    """A chip whose tests stay in one process of several: they share what its compiler made."""
    # Two processes with libtpu may not run at once.
    group = "tpu" if chip in TPUS else chip
    return pytest.param(chip, marks=pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def rows_of(tmp_path_factory):
    """Chip -> what its compiler made of every kernel."""
    found = {}

    def rows(chip):
        if chip not in found:
            out = tmp_path_factory.mktemp("chips") / f"{chip}.json"
            run(COMPILE, "--chips", chip, "--out", str(out))
            found[chip] = json.loads(out.read_text())
        return found[chip]

    return rows


def run(script, *arguments, cwd=ROOT):
    command = [sys.executable, str(script), *arguments]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(cwd), os.environ.get("PYTHONPATH")]))}
    environment = {**os.environ, **path}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def described(row):
    return " ".join(str(row[key]) for key in ("op", "size", "dtype", "implementation", "kernel"))


def faults_on_gpu(rows):
    """What breaks the limits, in words."""
    faults = []
    for row in rows:
        if "failed" in row:
            faults.append(f"{described(row)} does not compile: {row['failed']}")
        if "registers" not in row:
            continue
        if row["spilled"] or row["local"]:
            faults.append(f"{described(row)} spills")
        kernel = row["kernel"].split("__")[0]
        registers, shared = MOSAIC_GPU.get(kernel), None
        if row["implementation"] == "pallas_gpu":
            registers, shared = TRITON[kernel]
        if row["size"].startswith(ODD):
            continue
        if row["registers"] > registers:
            faults.append(f"{described(row)} takes {row['registers']} registers")
        if shared is not None and row["shared"] > shared:
            faults.append(f"{described(row)} takes {row['shared']} bytes of shared memory")
    return faults


def faults_on_tpu(rows):
    """The same for TPUs."""
    faults = []
    for row in rows:
        if "failed" in row or "refused" in row:
            why = row.get("failed", row.get("refused"))
            faults.append(f"{described(row)} does not compile: {why}")
        elif not row["vmem"]:
            faults.append(f"{described(row)}: no kernel inside")
        elif max(row["vmem"].values()) > VMEM:
            faults.append(f"{described(row)} takes {max(row['vmem'].values())} bytes of VMEM")
    return faults


@needs_gpus
@pytest.mark.parametrize("chip", [grouped(chip) for chip in GPUS])
def test_gpu_kernels_compile_within_their_limits(rows_of, chip):
    rows = rows_of(chip)
    assert not faults_on_gpu(rows)
    made = [row for row in rows if "registers" in row]
    by_triton = [row for row in made if row["implementation"] == "pallas_gpu"]
    assert {row["kernel"].split("__")[0] for row in by_triton} == set(TRITON)
    assert {row["dtype"] for row in made} == {"float32", "bfloat16"}


@needs_gpus
@pytest.mark.parametrize("chip", [grouped("h100")])
def test_products_and_sums_are_fused(rows_of, chip):
    for row in rows_of(chip):
        if row["kernel"] in ("apply_curves_backward", "region_gradient", "region_blend"):
            assert row["fused"] > 0, described(row)


@needs_gpus
@pytest.mark.parametrize("chip", [grouped("h100")])
def test_mosaic_gpu_refuses_by_our_sentence_only(rows_of, chip):
    refused = [row for row in rows_of(chip) if "refused" in row]
    assert refused
    for row in refused:
        assert row["implementation"] == "pallas_mosaic_gpu", described(row)
        assert "does not divide" in row["refused"], described(row)


@needs_tpus
@pytest.mark.parametrize("chip", [grouped(chip) for chip in TPUS])
def test_tpu_kernels_compile_within_vmem(rows_of, chip):
    rows = rows_of(chip)
    assert not faults_on_tpu(rows)
    assert {row["dtype"] for row in rows} == {"float32", "bfloat16"}


def broken(tmp_path, fault, chip, op):
    out = tmp_path / "rows.json"
    sizes = ("--sizes", "full", "--dtypes", "float32")
    run(BROKEN, fault, "--chips", chip, "--ops", op, *sizes, "--out", str(out))
    return json.loads(out.read_text())


@needs_gpus
@pytest.mark.parametrize("chip", [grouped("h100")])
def test_a_kernel_that_spills_is_found(tmp_path, chip):
    faults = faults_on_gpu(broken(tmp_path, "spill", chip, "apply_curves"))
    assert any("apply_curves_backward spills" in fault for fault in faults), faults


@needs_tpus
@pytest.mark.parametrize("chip", [grouped("v5e")])
@pytest.mark.parametrize(
    ("fault", "op", "words"),
    [
        ("vmem", "apply_curves", "gradient does not compile: .*(vmem|memory)"),
        ("nearly all of vmem", "masked_moments", "(does not compile|bytes of VMEM)"),
    ],
)
def test_blocks_that_fill_vmem_are_found(tmp_path, chip, fault, op, words):
    faults = faults_on_tpu(broken(tmp_path, fault, chip, op))
    assert any(re.search(words, fault, re.IGNORECASE) for fault in faults), faults

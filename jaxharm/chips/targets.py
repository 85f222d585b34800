"""The machines that a step can be compiled for without having them, and what is published of them.

The compilers come from the package registry (`pip install 'jaxharm[compile]'`): libtpu holds that
of TPUs and describes whole pods; the CUDA plugin of JAX, with the assembler of nvidia-cuda-nvcc,
holds that of GPUs, which works from a description of the chip.
"""

import importlib.util
import math
import os
import re
from dataclasses import dataclass

import jax
from jax.experimental import topologies

from jaxharm.errors import InputError

GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """What XLA's description of a GPU holds beside the memory.

    Attributes:
        capability: compute capability, (9, 0) for sm_90.
        cores: streaming multiprocessors.
        lanes: float32 units of a multiprocessor.
        shared: bytes of shared memory of a multiprocessor; a block may take 1 KiB less.
        l2: bytes of the second-level cache.
    """

    capability: tuple[int, int]
    cores: int
    lanes: int
    shared: int
    l2: int


@dataclass(frozen=True)
class Chip:
    """Published figures of a chip, from its maker's data sheet.

    Attributes:
        title: what it is called.
        platform: "tpu", "cuda" or "cpu", as XLA says.
        memory: bytes of its own memory.
        bandwidth: bytes per second of that memory; None where nothing is published.
        peak: bfloat16 operations per second of its matrix units, dense; None as above.
        clock: cycles per second, which turns a compiler's estimate into time; None as above.
        gpu: what the compiler wants to know of a GPU.
    """

    title: str
    platform: str
    memory: int
    bandwidth: float | None = None
    peak: float | None = None
    clock: float | None = None
    gpu: Gpu | None = None


# TPU: cloud.google.com/tpu/docs, pages of v5e, v5p and v6e; the clock is the peak over the operations
# of the chip's matrix units in a cycle. GPU: data sheets of A100 SXM, H100 SXM, H200 and B200.
CHIPS = {
    "v5e": Chip("TPU v5e", "tpu", 16 * GIB, 819e9, 197e12, 1.50e9),
    "v5p": Chip("TPU v5p", "tpu", 95 * GIB, 2765e9, 459e12, 1.75e9),
    "v6e": Chip("TPU v6e", "tpu", 32 * GIB, 1640e9, 918e12, 1.75e9),
    "a100": Chip(
        *("NVIDIA A100", "cuda", 80 * 10**9, 2039e9, 312e12, 1.41e9),
        Gpu((8, 0), 108, 64, 167_936, 40 * 2**20),
    ),
    "h100": Chip(
        *("NVIDIA H100", "cuda", 80 * 10**9, 3352e9, 989e12, 1.98e9),
        Gpu((9, 0), 132, 128, 233_472, 50 * 2**20),
    ),
    "h200": Chip(
        *("NVIDIA H200", "cuda", 141 * 10**9, 4800e9, 989e12, 1.98e9),
        Gpu((9, 0), 132, 128, 233_472, 50 * 2**20),
    ),
    "b200": Chip(
        *("NVIDIA B200", "cuda", 180 * 10**9, 8000e9, 2250e12, 1.965e9),
        Gpu((10, 0), 148, 128, 233_472, 126 * 2**20),
    ),
}
# This machine's processor, several times: what the step of a run here would need.
CPU = "cpu"
REGISTERS = 65_536  # 32-bit registers of a multiprocessor, and the most that a block may have


@dataclass(frozen=True)
class Target:
    """A machine to compile for.

    Attributes:
        name: as it was asked for, such as "v5e:16x16".
        chip: its chips.
        devices: all of them, described; nothing can be put on them.
    """

    name: str
    chip: Chip
    devices: list[jax.Device]


def find_target(name: str) -> Target:
    """The machine called `name`: a chip, a colon, and the sides of the slice or the number of GPUs.

    "v5e:16x16" is a TPU slice of 256 chips, "h200:8" one host with 8 GPUs, "h200:4x8" four of them,
    "cpu:8" this machine as 8 devices.

    Raises:
        InputError: an unknown chip, sides that its makers do not offer, or the compiler is missing.
    """
    kind, _, sides = name.partition(":")
    known = [*CHIPS, CPU]
    if kind not in known or not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3}){0,2}", sides):
        raise InputError(
            f"unknown machine {name!r}: give a chip ({', '.join(known)}), a colon, and how many, "
            "such as v5e:16x16 or h200:8"
        )
    if kind == CPU:
        return _this_machine(name, math.prod(int(side) for side in sides.split("x")))
    chip = CHIPS[kind]
    _need_compiler(chip)
    try:
        devices = _tpu(name) if chip.platform == "tpu" else _gpu(chip, sides)
    except Exception as error:  # of the compiler's own kinds, which have no common type
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the compiler of {chip.title} refuses {name!r}: {reason}") from None
    return Target(name, chip, devices)


def _this_machine(name: str, count: int) -> Target:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    jax.config.update("jax_num_cpu_devices", count)
    return Target(name, Chip("CPU device", "cpu", memory // count), jax.devices("cpu"))


def _need_compiler(chip: Chip) -> None:
    wanted = {"tpu": ("libtpu",), "cuda": ("jax_cuda13_plugin", "nvidia.cu13")}[chip.platform]
    missing = [module for module in wanted if not _has(module)]
    if missing:
        raise InputError(
            f"the compiler of {chip.title} is not installed ({', '.join(missing)}): "
            "pip install 'jaxharm[compile]'"
        )


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def _tpu(name: str) -> list[jax.Device]:
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # or libtpu looks for a machine in a cloud
    return list(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)


def _gpu(chip: Chip, sides: str) -> list[jax.Device]:
    counts = [int(side) for side in sides.split("x")]
    topology = "x".join(map(str, [1] * (3 - len(counts)) + counts))
    described = topologies.get_topology_desc(
        platform="cuda", target_config=_description(chip), topology=topology
    )
    return list(described.devices)


def _description(chip: Chip) -> str:
    """The GpuTargetConfigProto that XLA compiles for, as text."""
    gpu, bandwidth, clock = chip.gpu, chip.bandwidth, chip.clock
    assert gpu is not None
    assert bandwidth is not None
    assert clock is not None
    major, minor = gpu.capability
    # Without cuDNN here, the compiler is told of the version that `jax[cuda13]` installs.
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: {gpu.shared - 1024}
  shared_memory_per_core: {gpu.shared} core_count: {gpu.cores} fpus_per_core: {gpu.lanes}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: {REGISTERS} registers_per_block_limit: {REGISTERS}
  memory_bandwidth: {round(bandwidth)} device_memory_size: {chip.memory}
  l2_cache_size: {gpu.l2} clock_rate_ghz: {clock / 1e9}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 12 }}
runtime_version {{ major: 13 }}
device_description_str: "{chip.title}"
"""

"""Lowering for a chip that is not there: what a change breaks before the chip's own compiler.

It runs Pallas' lowering to Mosaic (TPU, GPU) or to Triton IR (GPU) and the verifier of that IR. Layouts,
the size of VMEM or shared memory, registers and speed are decided on the chip.
"""

import jax
from jax import export

DEVICES = {"tpu": ("TPU v5 lite", 1), "cuda": ("NVIDIA H100 80GB HBM3", 132)}
CALLS = {"tpu": "tpu_custom_call", "cuda": "__gpu$xla.gpu.triton"}
MOSAIC_GPU = "mosaic_gpu_v2"


def abstract_device(platform):
    """Stands for the chip, of which some lowerings ask the kind."""
    return jax.sharding.AbstractDevice(*DEVICES[platform], platform)


def lower(function, *arguments, platform):
    """The module's text of `function` for "tpu" or "cuda"."""
    names = (*CALLS.values(), MOSAIC_GPU)
    checks = [export.DisabledSafetyCheck.custom_call(name) for name in names]
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=abstract_device(platform))
    with jax.sharding.use_abstract_mesh(mesh):
        exported = export.export(jax.jit(function), platforms=[platform], disabled_checks=checks)
        return exported(*arguments).mlir_module()


def count_kernels(text, platform):
    """Number of kernel calls in a module's text."""
    return text.count(f"@{CALLS[platform]}(")

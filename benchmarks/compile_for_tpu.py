"""Compiles the kernels with the TPU's own compiler, without a TPU.

    pip install libtpu     # of the version that `pip install jax[tpu]` takes
    python benchmarks/compile_for_tpu.py

Lowering, which the tests do, stops at Mosaic's input. This goes on to the program for the chip:
tilings, layouts and the size of VMEM are checked; speed and results are not. "Copies" are temporary
arrays of the whole program: XLA stores an argument in another order than the kernel reads.
"""

import argparse
import importlib.util
import os
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # do not look for a machine in a cloud

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from kernel_cases import CASES, Case, Shape

from jaxharm.errors import InputError, run_command

_TOPOLOGIES = ("v5e:2x2", "v6e:2x2")


def compile_case(case: Case, shape: Shape, dtype: str, place: SingleDeviceSharding) -> list[str]:
    """A line per direction."""

    def forward(arrays: Any) -> Any:
        return case.run(arrays, implementation="pallas_tpu")

    def gradient(arrays: Any, upstream: Any) -> Any:
        return jax.vjp(forward, arrays)[1](upstream)[0]

    arrays = {
        name: jax.ShapeDtypeStruct(s, dtype, sharding=place)
        for name, s in case.shapes(shape).items()
    }
    upstream = jax.tree.map(
        lambda o: jax.ShapeDtypeStruct(o.shape, o.dtype, sharding=place),
        jax.eval_shape(forward, arrays),
    )
    lines = []
    for function, arguments in ((forward, (arrays,)), (gradient, (arrays, upstream))):
        device = jax.sharding.AbstractDevice(place.device_set.copy().pop().device_kind, 1, "tpu")
        mesh = jax.sharding.AbstractMesh((), (), abstract_device=device)
        try:
            with jax.sharding.use_abstract_mesh(mesh):  # some lowerings depend on the chip
                memory = jax.jit(function).lower(*arguments).compile().memory_analysis()
            held = memory.argument_size_in_bytes + memory.output_size_in_bytes
            outcome = (
                f"{held / 1e6:.1f} MB in and out, {memory.temp_size_in_bytes / 1e6:.1f} MB copies"
            )
        except Exception as failure:  # the compiler's errors have no common type
            outcome = f"FAILED: {str(failure).splitlines()[0]}"
        size = "x".join(map(str, shape))
        lines.append(f"{case.op} {size} {dtype} {function.__name__}: {outcome}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", nargs="+", help="only these operations")
    parser.add_argument("--topologies", nargs="+", default=_TOPOLOGIES)
    arguments = parser.parse_args()
    if importlib.util.find_spec("libtpu") is None:
        raise InputError("libtpu is not installed: pip install libtpu")
    failed = False
    for name in arguments.topologies:
        device = topologies.get_topology_desc(platform="tpu", topology_name=name).devices[0]
        place = SingleDeviceSharding(device)
        print(f"{device.device_kind}:")
        for case in CASES:
            if arguments.ops and case.op not in arguments.ops:
                continue
            for shape in (case.shape, (1, 131, 111, case.shape[3])):
                for dtype in ("float32", "bfloat16"):
                    for line in compile_case(case, shape, dtype, place):
                        failed |= "FAILED" in line
                        print(" ", line, flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(run_command(main))

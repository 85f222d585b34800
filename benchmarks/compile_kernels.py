"""Compiles every kernel by the chips' own compilers, without a chip, and prints what they say.

    pip install -e '.[compile]'
    python benchmarks/compile_kernels.py --chips h100 v5e --out kernels.json

For GPUs: registers, spills and shared memory by the assembler, how many warps fit into a
multiprocessor, instructions for each number of the result (a loop's body once, what precedes it
included), and the least time at which a multiprocessor can issue them, beside that of the memory.
For TPUs: that the program exists, its copies, and its memory in VMEM. Nothing is run.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding
from kernel_cases import CASES, Case, Shape

from jaxharm.chips.machine_code import KernelCode, assembled, dumped
from jaxharm.chips.program import read_program
from jaxharm.chips.targets import CHIPS, Target, find_target
from jaxharm.compiler import use_cpu_only
from jaxharm.errors import InputError, run_command
from jaxharm.ops import dispatch
from jaxharm.ops.apply_curves import configs as curves
from jaxharm.ops.regions import configs as regions

_ODD = (1, 131, 111)
_BY = {"tpu": ("pallas_tpu",), "cuda": ("pallas_gpu", "pallas_mosaic_gpu")}
_LOOPS = {
    "apply_curves_backward": curves.GPU_BACKWARD,
    "region_sums": regions.GPU_SUMS,
    "region_gradient_sums": regions.GPU_UPSTREAM,
    "region_blend": regions.GPU_MAPS,
    "region_gradient": regions.GPU_MAPS,
    "region_centered_gradient": regions.GPU_MAPS,
}
_BY_MOSAIC_GPU = ("masked_adain", "masked_moments", "patch_norm")


def compile_case(
    case: Case, shape: Shape, dtype: str, direction: str, implementation: str, target: Target
) -> Any:
    """The compiled program of a kernel's forward call or gradient."""
    place = SingleDeviceSharding(target.devices[0])

    def forward(arrays: Any) -> Any:
        return case.run(arrays, implementation=implementation)

    def gradient(arrays: Any, upstream: Any) -> Any:
        return jax.vjp(forward, arrays)[1](upstream)[0]

    arrays = {
        name: jax.ShapeDtypeStruct(s, dtype, sharding=place)
        for name, s in case.shapes(shape).items()
    }
    device = jax.sharding.AbstractDevice(target.devices[0].device_kind, 1, target.chip.platform)
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=device)
    # Some lowerings depend on the chip.
    with dispatch.compiling_for(target.devices[0]), jax.sharding.use_abstract_mesh(mesh):
        if direction == "forward":
            return jax.jit(forward).lower(arrays).compile()
        upstream = jax.tree.map(
            lambda o: jax.ShapeDtypeStruct(o.shape, o.dtype, sharding=place),
            jax.eval_shape(forward, arrays),
        )
        return jax.jit(gradient).lower(arrays, upstream).compile()


def gpu_rows(case: Case, shape: Shape, dtype: str, target: Target, folder: Path) -> list[Any]:
    """A row per kernel and lowering of a case."""
    rows, gpu = list[Any](), target.chip.gpu
    assert gpu is not None
    for implementation in _BY["cuda"]:
        if not _offered(case, implementation, target):
            continue
        for direction in ("forward", "gradient"):
            row = {**_title(case, shape, dtype, target), "implementation": implementation}
            try:
                compile_case(case, shape, dtype, direction, implementation, target)
            except Exception as failure:  # the compilers' errors have no common type
                rows.append({**row, "kernel": direction, **_failure(failure)})
                assembled(folder, gpu)  # forgets what was made before the failure
                continue
            for code in assembled(folder, gpu):
                rows.append({**row, "kernel": code.name, **_gpu_figures(code, target)})
    return _without_repeats(rows)


def _gpu_figures(code: KernelCode, target: Target) -> dict[str, Any]:
    gpu = target.chip.gpu
    assert gpu is not None
    return {
        "threads": code.threads,
        "registers": code.registers,
        "spilled": code.spilled,
        "shared": code.shared,
        "blocks": code.blocks,
        "turns": _turns(code),
        "occupancy": round(code.occupancy(gpu), 3),
        "instructions": code.instructions,
        "looped": code.looped,
        "fused": code.opcodes.get("FFMA", 0),
        "multiplications": code.opcodes.get("FMUL", 0),
        "additions": code.opcodes.get("FADD", 0),
        "barriers": code.opcodes.get("BAR", 0),
        "local": sum(code.opcodes.get(name, 0) for name in ("LDL", "STL")),
    }


def _turns(code: KernelCode) -> int:
    """How often the loop of a kernel by Triton goes round at the models' sizes."""
    for name, table in _LOOPS.items():
        if code.name.startswith(name) and code.looped:
            (_, _, cut), *_ = table
            return cut.tiles // getattr(cut, "held", 1)
    return 1


def tpu_rows(case: Case, shape: Shape, dtype: str, target: Target) -> list[Any]:
    """A row per direction of a case."""
    rows = []
    for direction in ("forward", "gradient"):
        row = {**_title(case, shape, dtype, target), "implementation": "pallas_tpu"}
        row["kernel"] = direction
        try:
            program = compile_case(case, shape, dtype, direction, "pallas_tpu", target)
        except Exception as failure:  # as above
            rows.append({**row, **_failure(failure)})
            continue
        memory = program.memory_analysis()
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes
        vmem = read_program(program.as_text()).kernel_memory
        rows.append({**row, "held": held, "copies": memory.temp_size_in_bytes, "vmem": vmem})
    return rows


def _title(case: Case, shape: Shape, dtype: str, target: Target) -> dict[str, Any]:
    size = "x".join(map(str, shape))
    return {"chip": target.chip.title, "op": case.op, "size": size, "dtype": dtype}


def _offered(case: Case, implementation: str, target: Target) -> bool:
    """Whether there is such a kernel, for such a chip: Mosaic GPU begins with Hopper."""
    gpu = target.chip.gpu
    assert gpu is not None
    if implementation != "pallas_mosaic_gpu":
        return True
    return gpu.capability >= (9, 0) and case.op in _BY_MOSAIC_GPU


def _failure(failure: Exception) -> dict[str, str]:
    # Our own sentence says that a kernel does not take such sizes; all else is a fault.
    kind = "refused" if isinstance(failure, InputError) else "failed"
    return {kind: str(failure).strip().splitlines()[0]}


def _without_repeats(rows: list[Any]) -> list[Any]:
    """A gradient runs its forward kernels again: each stands once."""
    found = {(row["implementation"], row["kernel"]): row for row in rows}
    return list(found.values())


def _line(row: dict[str, Any]) -> str:
    head = f"{row['op']} {row['size']} {row['dtype']} {row['implementation']} {row['kernel']}: "
    if "failed" in row:
        return f"{head}FAILED: {row['failed']}"
    if "refused" in row:
        return f"{head}not taken: {row['refused']}"
    if "held" in row:
        most = max(row["vmem"].values(), default=0)
        return (
            f"{head}{row['held'] / 1e6:.1f} MB in and out, {row['copies'] / 1e6:.1f} MB copies, "
            f"{most / 2**20:.2f} MiB of VMEM"
        )
    shared = "?" if row["shared"] is None else row["shared"]
    return (
        f"{head}{row['registers']} registers, {row['spilled']} bytes spilled, {shared} bytes shared, "
        f"{row['occupancy']:.0%} of warps, {row['instructions']} instructions, {row['looped']} of them "
        f"in a loop ({row['fused']} fused, {row['multiplications']} * and {row['additions']} +), "
        f"{row['barriers']} barriers"
    )


def main() -> int:
    """Prints a line per kernel; status 1 where a compiler refused one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", nargs="+", help="only these operations")
    parser.add_argument("--chips", nargs="+", default=("a100", "h100", "v5e", "v6e"), choices=CHIPS)
    parser.add_argument("--dtypes", nargs="+", default=("float32", "bfloat16"))
    parser.add_argument("--sizes", nargs="+", default=("full", "odd"), choices=("full", "odd"))
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON to write as well")
    arguments = parser.parse_args()
    rows = []
    use_cpu_only()
    with dumped() as folder:
        for chip in arguments.chips:
            tpu = CHIPS[chip].platform == "tpu"
            target = find_target(f"{chip}:{'2x2' if tpu else '1'}")
            print(f"{target.chip.title}:")
            for case in CASES:
                if arguments.ops and case.op not in arguments.ops:
                    continue
                odd = (*_ODD, case.shape[3])
                sizes = {"full": case.shape, "odd": odd}
                for shape in (sizes[name] for name in arguments.sizes):
                    for dtype in arguments.dtypes:
                        if tpu:
                            found = tpu_rows(case, shape, dtype, target)
                        else:
                            found = gpu_rows(case, shape, dtype, target, folder)
                        rows += found
                        print(*(f"  {_line(row)}" for row in found), sep="\n", flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any("failed" in row for row in rows))


if __name__ == "__main__":
    raise SystemExit(run_command(main))

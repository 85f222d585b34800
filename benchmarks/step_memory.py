"""Memory of one training step on each chip of several, as their compiler counts it; no chip needed.

    pip install libtpu     # of the version that `pip install jax[tpu]` takes
    python benchmarks/step_memory.py --config MODEL/RUN --topology v5e:4x4 --parallel jit fsdp
    python benchmarks/step_memory.py --config MODEL/RUN --topology cpu:8

The step of the config is compiled ahead of time, by XLA's own operations: kernels are left out. An
estimate of the compiler; nothing is run.
"""

import argparse
import os
import time

os.environ["JAX_PLATFORMS"] = "cpu"  # the process itself has no chip
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # do not look for a machine in a cloud

import jax
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec
from train_step import random_batch

from jaxharm.compiler import matmul_precision
from jaxharm.config_file import load_config
from jaxharm.errors import run_command
from jaxharm.ops.dispatch import override
from jaxharm.registry import make_system
from jaxharm.training import parallel

MIB = 2**20


def devices(topology: str) -> list[jax.Device]:
    """The chips to compile for."""
    kind, _, count = topology.partition(":")
    if kind == "cpu":
        jax.config.update("jax_num_cpu_devices", int(count))
        return jax.devices()
    return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)


def main() -> int:
    """Prints a row per way to launch the step."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--overlay", nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--topology", default="v5e:4x4", help="of libtpu, or cpu:COUNT")
    parser.add_argument("--batch", type=int, help="images per step; default: the config's")
    ways = ("shard_map", "jit", "fsdp")
    parser.add_argument("--parallel", nargs="+", default=ways, choices=ways)
    arguments = parser.parse_args()
    mesh = parallel.make_mesh(devices(arguments.topology))
    config = load_config(arguments.config, arguments.overlay, arguments.set)
    system, side = make_system(config, total_steps=1000), config.data.image_size
    batch_size = arguments.batch or config.data.batch_size
    parallel.check_batch_size(batch_size, config.accumulate, mesh)
    split = NamedSharding(mesh, PartitionSpec(parallel.AXIS))
    example = random_batch(config, 1, side).for_devices()
    batch = jax.tree.map(
        lambda v: jax.ShapeDtypeStruct((batch_size, *v.shape[1:]), v.dtype, sharding=split), example
    )
    kind = mesh.devices.flat[0].device_kind
    print(f"{config.system}, {side}x{side}, batch {batch_size} on {mesh.size} x {kind}, in MiB")
    print("| parallel | state and batch | temporaries | together | compiled in |")
    print("|---|---|---|---|---|", flush=True)
    with override("reference"), matmul_precision(config.matmul_precision):
        for mode in arguments.parallel:
            state = parallel.abstract_state(system, example, mesh, mode)
            start = time.perf_counter()
            step = parallel.launch(system.step, mode, mesh).lower(state, batch).compile()
            memory = step.memory_analysis()
            held = memory.argument_size_in_bytes + memory.output_size_in_bytes
            held -= memory.alias_size_in_bytes
            cells = [held, memory.temp_size_in_bytes, held + memory.temp_size_in_bytes]
            shown = " | ".join(f"{value / MIB:,.1f}" for value in cells)
            print(f"| {mode} | {shown} | {time.perf_counter() - start:.0f} s |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))

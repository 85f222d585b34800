"""Compiles kernels whose blocks are chosen badly: FAULT, then the arguments of compile_kernels.py."""

import sys
from pathlib import Path

from jaxharm.ops.apply_curves import pallas_tpu, pallas_triton
from jaxharm.ops.apply_curves.configs import GpuBlocks, TpuBlocks
from jaxharm.ops.regions import configs, tpu_tiles

FAULTS = {
    # One warp holds more numbers than it has registers.
    "spill": (pallas_triton, "GPU_BACKWARD", GpuBlocks(size=512, warps=1, tiles=2)),
    # 14 blocks, each twice, of 512 x 2048 pixels in 16 MiB.
    "vmem": (pallas_tpu, "TPU_BACKWARD", TpuBlocks(height=512, width=2048)),
    # It goes into VMEM, and leaves less than a compiler's own needs may take.
    "nearly all of vmem": (tpu_tiles, "TPU", configs.TpuBlocks(bytes=7 * 2**20)),
}


def main(fault: str, *arguments: str) -> int:
    """Spoils a table of blocks and compiles; returns the exit status."""
    module, table, blocks = FAULTS[fault]
    setattr(module, table, (("", "any", blocks),))
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import compile_kernels

    sys.argv = ["compile_kernels.py", *arguments]
    return compile_kernels.main()


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))

"""Block sizes of the kernels, as data. `benchmarks/kernels.py --blocks` prints rows for here."""
# Nothing is tuned while training runs: another block size sums in another order.

from dataclasses import dataclass


@dataclass(frozen=True)
class TpuBlocks:
    """Pixels of a block, and the rows that one step of the inner loop keeps in registers."""

    height: int  # multiple of `rows`
    width: int  # multiple of 128
    rows: int = 16  # a tile of bfloat16 has 16 rows


@dataclass(frozen=True)
class GpuBlocks:
    """Elements (forward) or pixels (backward) of a tile, a power of two, and tiles of a program."""

    size: int
    warps: int
    tiles: int = 1


# (date, device, blocks); the first row serves devices without one of their own.
TPU_FORWARD = (("not measured", "any TPU", TpuBlocks(height=128, width=512)),)
TPU_BACKWARD = (("not measured", "any TPU", TpuBlocks(height=64, width=512)),)
GPU_FORWARD = (("not measured", "any GPU", GpuBlocks(size=1024, warps=4)),)
GPU_BACKWARD = (("not measured", "any GPU", GpuBlocks(size=32, warps=1, tiles=16)),)

"""Block sizes of the kernels, as data."""
# Nothing is tuned while training runs: another block size sums in another order.

from dataclasses import dataclass


@dataclass(frozen=True)
class TpuBlocks:
    """Most bytes of a block of the feature map in float32 (the pipeline holds it twice)."""

    bytes: int


@dataclass(frozen=True)
class GpuBlocks:
    """How a program is cut.

    Attributes:
        size: numbers in a tile, a power of two.
        tiles: of a program, one after the other.
        warps: of a program.
        held: tiles that are read at once and stay in registers; it divides `tiles`.
    """

    size: int
    tiles: int
    warps: int
    held: int = 1


# (date, device, blocks); the first row serves devices without one of their own.
TPU = (("not measured", "any TPU", TpuBlocks(bytes=3 * 2**19)),)
# Kernels that sum a feature map, kernels that sum the gradient from upstream, and kernels that map each
# pixel. A map of two regions keeps so much of a tile in registers that smaller tiles let twice as many warps
# be resident. Upstream sums read three arrays: one tile alone and four at once spill (by the assembler).
GPU_SUMS = (("not measured", "any GPU", GpuBlocks(size=256, tiles=128, warps=2, held=8)),)
GPU_UPSTREAM = (("not measured", "any GPU", GpuBlocks(size=256, tiles=128, warps=2, held=2)),)
GPU_MAPS = (("not measured", "any GPU", GpuBlocks(size=2048, tiles=16, warps=4)),)

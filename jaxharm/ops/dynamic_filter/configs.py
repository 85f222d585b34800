"""Block sizes of the kernels, as data."""
# Nothing is tuned while training runs: another block size sums in another order.

from dataclasses import dataclass


@dataclass(frozen=True)
class TpuBlocks:
    """Bytes in VMEM of one grid step's blocks (the pipeline holds them twice), channels of a block."""

    bytes: int
    channels: int = 128


@dataclass(frozen=True)
class GpuBlocks:
    """Numbers of the image in a block: a power of two."""

    size: int
    warps: int


# (date, device, blocks); the first row serves devices without one of their own.
TPU = (("not measured", "any TPU", TpuBlocks(bytes=4 * 2**20)),)
GPU = (("not measured", "any GPU", GpuBlocks(size=128, warps=4)),)

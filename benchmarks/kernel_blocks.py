"""Block sizes that `benchmarks/kernels.py --blocks` tries."""

from dataclasses import dataclass
from typing import Any

from jaxharm.ops.apply_curves import configs as curves
from jaxharm.ops.dynamic_filter import configs as filters
from jaxharm.ops.regions import configs as regions


@dataclass(frozen=True)
class BlockTable:
    """Block sizes that `--blocks` tries in place of a table that a module reads."""

    ops: tuple[str, ...]
    platform: str
    module: str
    name: str
    candidates: tuple[Any, ...]


_REGIONS = ("patch_norm", "masked_moments", "masked_adain")
_SIZES, _WARPS = (512, 1024, 2048, 4096), (4, 8)

BLOCKS = (
    BlockTable(
        ("apply_curves",), "tpu", "apply_curves.pallas_tpu", "TPU_FORWARD",
        tuple(curves.TpuBlocks(h, w) for h in (32, 64, 128, 256) for w in (256, 512)),
    ),
    BlockTable(
        ("apply_curves",), "tpu", "apply_curves.pallas_tpu", "TPU_BACKWARD",
        tuple(curves.TpuBlocks(h, w) for h in (32, 64) for w in (256, 512)),
    ),
    BlockTable(
        ("apply_curves",), "gpu", "apply_curves.pallas_triton", "GPU_FORWARD",
        tuple(curves.GpuBlocks(size, warps) for size in _SIZES for warps in _WARPS),
    ),
    BlockTable(
        ("apply_curves",), "gpu", "apply_curves.pallas_triton", "GPU_BACKWARD",
        tuple(
            curves.GpuBlocks(size, warps, tiles)
            for size, warps in ((32, 1), (64, 2), (128, 4)) for tiles in (4, 8, 16, 32)
        ),
    ),
    BlockTable(
        ("dynamic_filter",), "tpu", "dynamic_filter.pallas_tpu", "TPU",
        tuple(filters.TpuBlocks(mib * 2**20, 128) for mib in (1, 2, 4)),
    ),
    BlockTable(
        ("dynamic_filter",), "gpu", "dynamic_filter.pallas_triton", "GPU",
        tuple(filters.GpuBlocks(size, warps) for size in (128, 256, 512, 1024) for warps in _WARPS),
    ),
    BlockTable(
        _REGIONS, "tpu", "regions.tpu_tiles", "TPU",
        tuple(regions.TpuBlocks(kib * 2**10) for kib in (512, 1024, 1536, 2048)),
    ),
    *(
        BlockTable(
            _REGIONS, "gpu", "regions.triton_tiles", table,
            tuple(
                regions.GpuBlocks(size, tiles * held, warps, held)
                for size in sizes for tiles in (4, 8, 16) for warps in every for held in group
            ),
        )
        for table, sizes, every, group in (
            ("GPU_SUMS", (256, 512), (2, 4), (4, 8)),
            ("GPU_UPSTREAM", (256, 512), (2, 4), (1, 2, 4)),
            ("GPU_MAPS", (1024, 2048, 4096, 8192), _WARPS, (1,)),
        )
    ),
)  # fmt: skip

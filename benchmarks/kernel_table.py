"""The table of docs/machine_code.md: what compilers make of every kernel, before and after.

    python benchmarks/compile_kernels.py --chips a100 h100 b200 v5e v6e --out after.json     # and in another checkout before.json
    python benchmarks/kernel_table.py after.json --before before.json

Of each kernel the first of the models' sizes. Nothing is run: "issue" is the time in which the
multiprocessors can issue the instructions, "traffic" that in which the memory can move what must be read
and written once, and the longer of the two is the bound.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxharm.chips.targets import CHIPS

Row = Mapping[str, Any]
# Numbers that a kernel reads and writes for each number of the image or feature map, at the first size.
TRAFFIC = {
    "apply_curves_forward": 11 / 3,
    "apply_curves_backward": 19 / 3,
    "dynamic_filter_forward": 11,
    "dynamic_filter_d_image": 11,
    "dynamic_filter_d_kernels": 11,
    "region_sums": 1,
    "region_blend": 2,
    "region_gradient_sums": 2,
    "region_gradient": 3,
    "region_centered_gradient": 2,
}
SCHEDULERS = 4  # of a multiprocessor; each issues one instruction of a warp in a cycle
BY = {"pallas_gpu": "Triton", "pallas_mosaic_gpu": "Mosaic GPU"}
CHIP = {chip.title: chip for chip in CHIPS.values()}
MOSAIC_TILE = 64  # pixels, and channels at most


def first_sizes(rows: Sequence[Row]) -> dict[tuple[str, ...], Row]:
    """The first row of each kernel, with sums over one region apart from those over two."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if "registers" not in row or row["size"].startswith("1x131"):
            continue
        name = row["kernel"].split("__")[0]
        if name == "region_sums":
            name += ", two regions" if row["op"] == "patch_norm" else ", one region"
        found.setdefault((row["chip"], name, row["implementation"], row["dtype"]), row)
    return found


def figures(row: Row, name: str) -> dict[str, Any]:
    """What is shown of a kernel."""
    size = [int(side) for side in row["size"].split("x")]
    numbers, chip = math.prod(size), CHIP[row["chip"]]
    assert chip.gpu is not None
    assert chip.clock is not None
    assert chip.bandwidth is not None
    if row["blocks"]:
        held = numbers / row["blocks"] / row["threads"]
    else:
        held = MOSAIC_TILE * min(MOSAIC_TILE, size[-1]) / row["threads"]
    executed = row["instructions"] + row["looped"] * (row["turns"] - 1)
    each = executed / held
    issue = each * numbers / 32 / (chip.gpu.cores * SCHEDULERS * chip.clock)
    width = 4 if row["dtype"] == "float32" else 2
    traffic = TRAFFIC[name.split(",")[0]] * width * numbers / chip.bandwidth
    return {
        "registers": str(row["registers"]),
        "spilled": str(row["spilled"]),
        "shared": "?" if row["shared"] is None else str(row["shared"]),
        "warps": f"{row['occupancy']:.0%}",
        "instructions a number": f"{each:.0f}",
        "issue, ms": f"{issue * 1e3:.2f}",
        "traffic, ms": f"{traffic * 1e3:.2f}",
        "bound": "issue" if issue > traffic else "memory",
    }


def gpu_table(after: Sequence[Row], before: Sequence[Row]) -> Iterator[str]:
    """Lines of the table of GPUs; "before" stands before an arrow where it differs."""
    old = first_sizes(before)
    for number, (key, row) in enumerate(first_sizes(after).items()):
        chip, name, implementation, dtype = key
        shown = figures(row, name)
        was = figures(old[key], name) if key in old else shown
        cells = [
            value if value == was[what] else f"{was[what]} → {value}"
            for what, value in shown.items()
        ]
        if number == 0:
            head = ["chip", "kernel", "by", "dtype", *shown]
            yield f"| {' | '.join(head)} |"
            yield "|---" * len(head) + "|"
        yield f"| {' | '.join([chip, f'`{name}`', BY[implementation], dtype, *cells])} |"


def tpu_table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of the table of TPUs."""
    yield "| chip | operation | size | dtype | direction | VMEM, MiB | copies, MB |"
    yield "|---" * 7 + "|"
    for row in rows:
        if "vmem" in row and not row["size"].startswith("1x131"):
            vmem = max(row["vmem"].values()) / 2**20
            cells = [row["chip"], f"`{row['op']}`", row["size"], row["dtype"], row["kernel"]]
            cells += [f"{vmem:.2f}", f"{row['copies'] / 1e6:.1f}"]
            yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("after", type=Path, nargs="+")
    parser.add_argument("--before", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    after, before = (
        [row for file in files for row in json.loads(file.read_text())]
        for files in (options.after, options.before)
    )
    print("\n".join([*gpu_table(after, before), "", *tpu_table(after)]))


if __name__ == "__main__":
    main()

"""A scaling plan: what a step would take on more chips, by its compiled program and published figures.

    python benchmarks/compile_steps.py --out build/steps                   # each model for TPU and GPU
    python benchmarks/scaling_model.py build/steps/*.json --input-rate 110

Nothing is run on a chip. Every chip keeps the images that it was compiled for, so the global batch grows
with the chips. A step takes

- its arithmetic and memory traffic: what the TPU's compiler expects, in cycles; for GPUs, whose compiler
  neither expects nor counts anything, the longer of operations over `--share` of the peak and, over the
  bandwidth, the bytes for each image that the TPU's compiler counts in the same run;
- its exchanges, one after the other and hidden behind nothing, as the compiled programs have them:
  2 (n-1)/n of their bytes over the slowest link in the ring, and for each a latency that grows with
  the way through the machine.

"Efficiency" is the first over the sum. "Cores" is how many of a host's cores decode and transform as
many images as its chips take, by `--input-rate`, images per second on one core, which
benchmarks/input_pipeline.py measures. Where they are more than the host has, the input binds.

The last lines deal the records of one pass out to 4,096 hosts by the loader's own arithmetic, and count.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipelines.samples.stream import ProcessRows, record_order
from jaxharm.chips.targets import CHIPS, Chip
from jaxharm.errors import InputError, run_command

COUNTS = (8, 64, 256, 1024)


@dataclass(frozen=True)
class Links:
    """How chips of a kind are joined; from their makers' pages, and two latencies that are assumed.

    Attributes:
        together: chips that the fast links join: a slice at its largest, or the GPUs of a host.
        torus: whether they form a torus of two dimensions, or all see each other.
        fast: bytes per second that a chip sends over them.
        slow: bytes per second for each chip over the network that joins such groups.
        hop: seconds of a message from a chip to its neighbor (assumed).
        far: seconds of a message over the network (assumed).
        per_host: chips of a host.
        cores: of a host, as the clouds offer it.
    """

    together: int
    torus: bool
    fast: float
    slow: float
    hop: float
    far: float
    per_host: int
    cores: int

    def exchange(self, count: int, size: float, chips: int) -> float:
        """Seconds for `count` all-reduces of together `size` bytes over `chips`."""
        inside = min(chips, self.together)
        groups = math.ceil(chips / self.together)
        # There and back: half the side of a torus each way, a tree's height in a host.
        hops = 0.0 if inside == 1 else math.sqrt(inside) if self.torus else math.log2(inside)
        latency = 2 * hops * self.hop + 2 * math.log2(groups) * self.far
        moved = _ring(inside) * size / self.fast
        # Each chip of a group sends its part of the sum to the other groups.
        return count * latency + moved + _ring(groups) * size / inside / self.slow


def _ring(members: int) -> float:
    return 2 * (members - 1) / members


# TPU: cloud.google.com/tpu/docs, pages of v5e and v6e (interconnect and data center network for each chip).
# GPU: NVLink of the data sheets, one direction; a 400 Gbit/s adapter for each GPU.
LINKS = {
    "v5e": Links(256, True, 200e9, 3.1e9, 1e-6, 20e-6, 4, 112),
    "v6e": Links(256, True, 400e9, 12.5e9, 1e-6, 20e-6, 4, 180),
    "a100": Links(8, False, 300e9, 25e9, 3e-6, 10e-6, 8, 96),
    "h100": Links(8, False, 450e9, 50e9, 3e-6, 10e-6, 8, 192),
    "h200": Links(8, False, 450e9, 50e9, 3e-6, 10e-6, 8, 192),
    "b200": Links(8, False, 900e9, 50e9, 3e-6, 10e-6, 8, 192),
}


def bytes_of_images(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Model and image size -> bytes for each image, from the programs whose compilers count them."""
    return {
        _what(record): record["training step"]["bytes"] / record["training step"]["images_per_chip"]
        for record in records
        if record["training step"]["bytes"]
    }


def _what(record: dict[str, Any]) -> str:
    name: str = record["run"].partition(",")[0]  # "MODEL at 256x256"
    return name


def work_seconds(
    record: dict[str, Any], chip: Chip, share: float, traffic: dict[str, float]
) -> float:
    """Seconds of a step on one chip without its exchanges; `traffic` as of `bytes_of_images`."""
    step = record["training step"]
    if "seconds" in step:
        return float(step["seconds"])
    if chip.peak is None or chip.bandwidth is None:
        raise InputError(f"nothing is published of {chip.title}: compile for another machine")
    if _what(record) not in traffic:
        raise InputError(
            f"nothing counts the bytes of {_what(record)}: give a file of the same run for a TPU too"
        )
    moved = traffic[_what(record)] * step["images_per_chip"]
    return float(max(step["operations"] / (share * chip.peak), moved / chip.bandwidth))


def rows(
    record: dict[str, Any],
    counts: Sequence[int],
    share: float,
    input_rate: float,
    traffic: dict[str, float],
) -> Iterator[dict[str, Any]]:
    """A row of the plan for each number of chips."""
    kind = record["topology"].partition(":")[0]
    if kind not in LINKS:
        raise InputError(f"{record['topology']} is not a machine of a scaling plan: {[*LINKS]}")
    links, chip, step = LINKS[kind], CHIPS[kind], record["training step"]
    work, exchanged = work_seconds(record, chip, share, traffic), step["collectives"]
    for chips in counts:
        exchange = links.exchange(exchanged["count"], exchanged["bytes"], chips)
        total = work + exchange
        images = step["images_per_chip"] / total
        hosted = min(chips, links.per_host)
        cores = images * hosted * record["streams"] / input_rate
        yield {
            "run": _what(record),
            "chip": chip.title,
            "chips": chips,
            "batch": chips * step["images_per_chip"],
            "work ms": round(work * 1e3, 2),
            "exchange ms": round(exchange * 1e3, 2),
            "step ms": round(total * 1e3, 2),
            "efficiency": f"{work / total:.0%}",
            "images/s": round(chips * images),
            "cores": f"{math.ceil(cores)} of {links.cores}",
            "binds": _bound(work, exchange, cores / links.cores),
        }


def _bound(work: float, exchange: float, cores: float) -> str:
    if cores > 1:
        return f"input, {cores:.1f} times"
    return "exchange" if exchange > work else "chip"


def table(found: Sequence[dict[str, Any]]) -> str:
    """Rows as a table in Markdown."""
    lines = [[*found[0]], ["---"] * len(found[0]), *([*map(str, row.values())] for row in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def deal(records: int, hosts: int, rows_per_host: int, seed: int = 0) -> Counter[int]:
    """How often each record is read in the whole steps of one pass, by all hosts together."""
    order = record_order([range(records)], None, seed)
    batch = hosts * rows_per_host
    seen = Counter[int]()
    for host in range(hosts):
        mine = ProcessRows(batch, start=0, first=host * rows_per_host, count=rows_per_host)
        for number in range(records // batch * rows_per_host):
            seen[order[mine.position(number)][1]] += 1
    return seen


def main() -> int:
    """Prints the plan; returns the exit status: 1 where a record is lost or doubled."""
    options = _parse()
    records = [json.loads(file.read_text()) for file in options.files]
    traffic = bytes_of_images(records)
    found = [
        row
        for record in records
        for row in rows(record, options.chips, options.share, options.input_rate, traffic)
    ]
    if found:
        print(table(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    hosts, each = 4096, 2
    records = 3 * hosts * each + 17  # some are left over, as in most data sets
    seen = deal(records, hosts, each)
    doubled = sum(count > 1 for count in seen.values())
    whole = records // (hosts * each) * hosts * each
    print(
        f"\n{records} records over {hosts} hosts, {each} rows of each batch a host: {len(seen)} of "
        f"{whole} in whole batches were read, {doubled} of them more than once"
    )
    return int(doubled > 0 or len(seen) != whole)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("files", nargs="*", type=Path, help="by `jaxharm compile --json`")
    add("--chips", nargs="*", type=int, default=COUNTS)
    add("--share", type=float, default=0.4, help="of a GPU's peak that is reached (assumed)")
    add("--input-rate", type=float, default=110.0, help="images per second on a core (measured)")
    add("--out", type=Path, metavar="FILE", help="write the rows there, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))

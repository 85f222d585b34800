"""What a GPU's assembler makes of hand-written kernels: registers, spills, occupancy, instructions.

XLA and Mosaic GPU write the assembly of what they compile into a folder; `assembled` gives it to
ptxas once more, which says what it needs, and takes its result apart with nvdisasm. Both are in the
package registry (`pip install 'jaxharm[compile]'`).
"""

import contextlib
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jaxharm.chips.targets import REGISTERS, Gpu
from jaxharm.errors import InputError

_ENTRY = re.compile(r"\.entry (\w+)\s*\(")
_THREADS = re.compile(r"\.(?:req|max)ntid (\d+), (\d+), (\d+)")
_THUNK = re.compile(r" (\w+) grid: \[(\d+), (\d+), (\d+)\] .* shared_memory: (\d+) bytes")
# What XLA calls the kernels that it makes itself.
_OF_XLA = re.compile(r"fusion|^(?:wrapped|copy|loop|input|memset|transpose)")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(\w+)", re.MULTILINE)
_LABEL = re.compile(r"^(\.L_x_\w+):")
_JUMP = re.compile(r"\bBRA\S*\s+.*?\(?(\.L_x_\w+)")
_WARPS, _BLOCKS = 64, 32  # of a multiprocessor, at most
_IDLE = {"NOP", "BRA"}  # padding, and the jump to itself behind the end


@dataclass(frozen=True)
class KernelCode:
    """One kernel as machine code.

    Attributes:
        name: as the kernel is called in profiles.
        threads: of a block.
        registers: of a thread.
        spilled: bytes per thread that are moved out of registers for want of them.
        shared: bytes of shared memory of a block; None where the compiler does not say.
        blocks: in its grid; None as above.
        opcodes: name -> how often it stands in the code; a loop's body counts once.
        looped: instructions of the longest loop.
    """

    name: str
    threads: int
    registers: int
    spilled: int
    shared: int | None
    blocks: int | None
    opcodes: Mapping[str, int]
    looped: int

    @property
    def instructions(self) -> int:
        """Those that do something."""
        return sum(count for name, count in self.opcodes.items() if name not in _IDLE)

    def occupancy(self, gpu: Gpu) -> float:
        """Share of a multiprocessor's warps that can be resident."""
        warps = -(-self.threads // 32)
        per_warp = -(-self.registers // 8) * 8 * 32
        blocks = min(_BLOCKS, _WARPS // warps, REGISTERS // (per_warp * warps))
        if self.shared:
            blocks = min(blocks, gpu.shared // (self.shared + 1024))
        return blocks * warps / _WARPS


@contextlib.contextmanager
def dumped() -> Iterator[Path]:
    """A folder into which what is compiled inside writes its assembly; gone afterwards.

    XLA reads where to write once, so this must surround the first use of a compiler.
    """
    with tempfile.TemporaryDirectory() as name:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_dump_to={name}".strip()
        os.environ.update(MOSAIC_GPU_DUMP_TO=name, MOSAIC_GPU_DUMP_PTXAS="1")
        yield Path(name)


def assembled(folder: Path, gpu: Gpu) -> list[KernelCode]:
    """The hand-written kernels whose assembly lies in `folder`, which is emptied."""
    thunks = "\n".join(path.read_text() for path in folder.glob("*.thunk_sequence.txt"))
    launched = {
        name: (int(size), int(x) * int(y) * int(z))
        for name, x, y, z, size in _THUNK.findall(thunks)
    }
    found = []
    for path in sorted(folder.glob("*.ptx")):
        text = path.read_text()
        entry = _ENTRY.search(text)
        if entry and not _OF_XLA.search(entry[1]):
            shared, blocks = launched.get(entry[1], (None, None))
            found.append(_assemble(path, entry[1], text, shared, blocks, gpu))
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    return found


def _assemble(
    path: Path, name: str, text: str, shared: int | None, blocks: int | None, gpu: Gpu
) -> KernelCode:
    major, minor = gpu.capability
    # From 9.0 on, "a" allows the instructions of just this generation, as XLA does.
    target = f"sm_{major}{minor}{'a' if major >= 9 else ''}"
    code = path.with_suffix(".cubin")
    said = _run("ptxas", "-v", f"-arch={target}", str(path), "-o", str(code))
    listing = _run("nvdisasm", "-c", str(code))
    threads = _THREADS.search(text)
    spills = re.findall(r"(\d+) bytes spill", said)
    registers = re.search(r"Used (\d+) registers", said)
    assert threads is not None, "kernels say their number of threads"
    assert registers is not None, "ptxas -v says the registers"
    return KernelCode(
        name.removesuffix("_mosaic_gpu_kernel"),
        int(threads[1]) * int(threads[2]) * int(threads[3]),
        int(registers[1]),
        sum(map(int, spills)),
        shared,
        blocks,
        dict(Counter(_INSTRUCTION.findall(listing))),
        _longest_loop(listing),
    )


def _longest_loop(listing: str) -> int:
    """Instructions between a label and the farthest jump back to it."""
    count, labels, longest = 0, dict[str, int](), 0
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = count
        elif found := _INSTRUCTION.match(line):
            count += found[1] not in _IDLE
            jump = _JUMP.search(line)
            if jump and jump[1] in labels:
                longest = max(longest, count - labels[jump[1]])
    return longest


def _run(tool: str, *arguments: str) -> str:
    """Output and messages of a tool of the CUDA wheels."""
    places = find_spec("nvidia.cu13")
    folders = list(places.submodule_search_locations or ()) if places else []
    path = next((Path(f, "bin", tool) for f in folders if Path(f, "bin", tool).exists()), None)
    if path is None:
        raise InputError(f"{tool} is not installed: pip install 'jaxharm[compile]'")
    done = subprocess.run([path, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{tool} refuses {arguments[-1]}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout + done.stderr

"""Reads a compiled program: its collectives, its kernels, its compiler's estimate of cycles.

All of it from the program's text (HLO after scheduling), the only form that every compiler gives.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
# "%name = TYPE opcode(": the type may be a tuple with comments and layouts, so it is taken lazily.
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_BODY = re.compile(r"\bbody=%?([\w.-]+)")
_KERNEL_TARGETS = re.compile(
    r'custom_call_target="(tpu_custom_call|__gpu\$xla\.gpu\.triton|mosaic_gpu[\w.]*)"'
)
_SCOPED = re.compile(r'"used_scoped_memory_configs":\[\{[^}]*"size":"(\d+)"')
_KERNEL_NAME = re.compile(r'op_name="([^"]*)"')


@dataclass(frozen=True)
class Collective:
    """One exchange between chips.

    Attributes:
        kind: such as "all-reduce".
        arrays: how many were combined into it.
        bytes: of its results on one chip.
        overlapped: instructions between its start and its end; None where it is synchronous.
    """

    kind: str
    arrays: int
    bytes: int
    overlapped: int | None


@dataclass(frozen=True)
class Program:
    """What was read.

    Attributes:
        collectives: in the order of the program; those in a loop's body count once.
        kernels: name -> number of calls of hand-written kernels.
        kernel_memory: name -> most bytes of fast memory that one of these calls takes, its blocks
            included, where the compiler says so (TPU); else 0.
        cycles: the compiler's estimate for all instructions but collectives, loops times their
            trips where the program knows them; None where the compiler gives none.
    """

    collectives: tuple[Collective, ...]
    kernels: dict[str, int]
    kernel_memory: dict[str, int]
    cycles: int | None


def read_program(text: str) -> Program:
    """Reads the text of a compiled program."""
    computations = dict(_computations(text))
    entry = next(name for name, (is_entry, _) in computations.items() if is_entry)
    collectives = list[Collective]()
    kernels, memory = Counter[str](), dict[str, int]()
    for _, lines in computations.values():
        collectives += _collectives(lines)
        for name, size in _kernels(lines):
            kernels[name] += 1
            memory[name] = max(size, memory.get(name, 0))
    bodies = {name: lines for name, (_, lines) in computations.items()}
    cycles = _cycles(entry, bodies)
    return Program(tuple(collectives), dict(kernels), memory, cycles or None)


def _computations(text: str) -> Iterator[tuple[str, tuple[bool, list[str]]]]:
    name, is_entry, lines = "", False, list[str]()
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" ") and not line.startswith("HloModule"):
            head = line.split()
            is_entry = head[0] == "ENTRY"
            name, lines = head[1 if is_entry else 0].lstrip("%"), []
        elif line.startswith("}") and name:
            yield name, (is_entry, lines)
            name = ""
        elif name:
            lines.append(line)


def _collectives(lines: list[str]) -> Iterator[Collective]:
    started: dict[str, tuple[int, str]] = {}
    for place, line in enumerate(lines):
        found = _INSTRUCTION.match(line)
        if not found:
            continue
        name, type_, opcode = found.groups()
        if opcode in _COLLECTIVES:
            yield Collective(opcode, *_size(type_), None)
        elif opcode.endswith("-start") and opcode.removesuffix("-start") in _COLLECTIVES:
            started[name] = (place, opcode.removesuffix("-start"))
        elif opcode.endswith("-done"):
            operand = line[found.end() :].split(")")[0].split()[-1].lstrip("%")
            if operand in started:
                begun, kind = started.pop(operand)
                yield Collective(kind, *_size(type_), place - begun - 1)


def _size(type_: str) -> tuple[int, int]:
    arrays = [
        math.prod(int(n) for n in sides.split(",") if n) * _width(dtype)
        for dtype, sides in _ARRAY.findall(type_)
    ]
    return len(arrays), sum(arrays)


def _width(dtype: str) -> int:
    bits = re.search(r"\d+", dtype)
    return 1 if bits is None else max(1, int(bits[0]) // 8)


def _kernels(lines: list[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        if _KERNEL_TARGETS.search(line):
            named = _KERNEL_NAME.search(line)
            scopes = named[1].split("/") if named else ["unnamed"]
            name = scopes[-2] if scopes[-1] == "pallas_call" else scopes[-1]
            name = name.rpartition("(")[2].rstrip(")")  # "jvp(NAME)": what a gradient made of it
            size = _SCOPED.search(line)
            yield name, int(size[1]) if size else 0


def _cycles(name: str, bodies: dict[str, list[str]]) -> int:
    total = 0
    for line in bodies.get(name, ()):
        found = _INSTRUCTION.match(line)
        if not found:
            continue
        if found[3] == "while":
            body, trips = _BODY.search(line), _TRIPS.search(line)
            total += _cycles(body[1], bodies) * (int(trips[1]) if trips else 1) if body else 0
        elif cycles := _CYCLES.search(line):
            total += int(cycles[1])
    return total

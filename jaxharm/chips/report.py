"""The figures of a compiled program, and how they read."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jaxharm.chips.program import Collective, read_program
from jaxharm.chips.step import Made, Work, count_operations, remedy
from jaxharm.config import Json

_SMALL = 64 * 1024  # bytes; below, an exchange takes its latency and no more
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


def measure(work: Work, made: Made, *, whole: bool) -> Json:
    """The figures of one program.

    Args:
        work: what was compiled, and for which machine.
        made: by `compile_step` or `compile_prediction`.
        whole: whether it is the training step, whose arithmetic is counted too.
    """
    chip, text = work.target.chip, made.program.as_text() or ""
    memory: Any = made.program.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    needed = held + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    program = read_program(text)
    costs: Any = made.program.cost_analysis() or {}
    figures: Json = {
        "compile_seconds": round(made.seconds, 1),
        "chips": work.mesh.size if whole else 1,
        "images_per_chip": work.per_chip,
        "memory": {
            "chip": chip.memory,
            "held": held,
            "temporary": memory.temp_size_in_bytes,
            "code": memory.generated_code_size_in_bytes,
            "needed": needed,
        },
        "fits": needed <= chip.memory,
        "remedy": remedy(work, memory.temp_size_in_bytes, chip.memory - held),
        "collectives": _exchanges(program.collectives),
        "kernels": program.kernels,
        "cycles": program.cycles,
        "bytes": costs.get("bytes accessed"),
    }
    if program.cycles is not None and chip.clock is not None:
        figures["seconds"] = program.cycles / chip.clock
    if whole:
        operations = figures["operations"] = count_operations(work)
        if chip.peak is not None:
            figures["bound_seconds"] = operations / chip.peak
            if "seconds" in figures:
                figures["mfu"] = operations / figures["seconds"] / chip.peak
    return figures


def _exchanges(found: tuple[Collective, ...]) -> Json:
    return {
        "count": len(found),
        "kinds": dict(Counter(each.kind for each in found)),
        "bytes": sum(each.bytes for each in found),
        "combined": sum(each.arrays > 1 for each in found),
        "small": sum(each.bytes < _SMALL for each in found),
        "asynchronous": sum(each.overlapped is not None for each in found),
        "overlapped": sum(bool(each.overlapped) for each in found),
    }


def describe(name: str, figures: Mapping[str, Any]) -> str:
    """The figures of one program as lines to read."""
    memory, exchanged = figures["memory"], figures["collectives"]
    verdict = "" if figures["fits"] else f": it does NOT fit, {figures['remedy']}"
    rows = {
        "memory per chip": f"{_gib(memory['needed'])} of {_gib(memory['chip'])}: "
        f"{_gib(memory['held'])} state and batch, {_gib(memory['temporary'])} temporaries{verdict}",
        "collectives": _describe_exchanges(exchanged) if exchanged["count"] else "none",
        "kernels": ", ".join(
            f"{count} {name}" for name, count in sorted(figures["kernels"].items())
        )
        or "none: jax.numpy only",
    }
    if "operations" in figures:
        rows["arithmetic"] = f"{_metric(figures['operations'])}FLOP per chip"
    if "bound_seconds" in figures:
        least = _time(figures["bound_seconds"])
        rows["arithmetic"] += f", at least {least} at the chip's bfloat16 peak"
    if "seconds" in figures:
        share = f", {figures['mfu']:.1%} of peak" if "mfu" in figures else ""
        rows["estimate"] = (
            f"{_metric(figures['cycles'])}cycles, {_time(figures['seconds'])}{share}, by the compiler: "
            "collectives and waiting are not in it, and nothing was run"
        )
    rows["compiled in"] = f"{figures['compile_seconds']:.0f} s"
    head = f"{name}, {figures['images_per_chip']} images per chip"
    return "\n".join([head, *(f"  {key:16} {value}" for key, value in rows.items())])


def _describe_exchanges(exchanged: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in exchanged["kinds"].items())
    return (
        f"{kinds}; {exchanged['bytes'] / 1e6:.1f} MB per chip; {exchanged['combined']} of several "
        f"arrays, {exchanged['small']} below {_SMALL // 1024} kB; {exchanged['asynchronous']} "
        f"asynchronous, {exchanged['overlapped']} of them with work between start and end"
    )


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


def _metric(value: float) -> str:
    scale, unit = next((row for row in _UNITS if value >= row[0]), _UNITS[-1])
    return f"{value / scale:.1f} {unit}"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"

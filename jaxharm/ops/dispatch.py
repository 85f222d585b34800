"""Which implementation of an operation runs: chosen while a call is traced, and logged once.

An operation is a folder: `api.py` (checks, choice, differentiation rule), `reference.py` (the
definition in jax.numpy), and for kernels one file per lowering: `pallas_tpu.py` (Mosaic),
`pallas_triton.py`, `pallas_mosaic_gpu.py`, with `configs.py` for the block sizes. A file of kernels
offers the functions of the reference, with a keyword `interpret`, and `refusal(*arguments)`.
"""

import importlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax

from jaxharm.errors import InputError

_log = logging.getLogger(__name__)

# What each name stands for; an operation offers a subset.
IMPLEMENTATIONS = {
    "reference": "jax.numpy, on any platform",
    "pallas_tpu": "Pallas kernel for TPU",
    "pallas_gpu": "Pallas kernel for GPU",
    "pallas_mosaic_gpu": "Pallas kernel for GPU through Mosaic GPU, for Hopper and later",
    "pallas_interpret": "the Pallas kernel bodies, interpreted on any platform",
}
_RUNS_ON = {"pallas_tpu": "tpu", "pallas_gpu": "gpu", "pallas_mosaic_gpu": "gpu"}

# (operation, platform) -> what is faster there than the reference, by benchmarks/kernels.py. Empty:
# not measured on a GPU or TPU yet.
MEASURED: dict[tuple[str, str], str] = {}

_override: str | None = None
_logged: set[tuple] = set()


@dataclass(frozen=True)
class Implementation:
    """Where an implementation lies. Its module is imported at the first call, since Pallas is slow
    to import; being hashable, it can be a static argument of a differentiation rule.
    """

    module: str
    interpret: bool = False

    def call(self, function: str, *arguments: Any) -> Any:
        """Calls a function of the module."""
        run = getattr(importlib.import_module(self.module), function)
        return run(*arguments, interpret=True) if self.interpret else run(*arguments)

    def refusal(self, *arguments: Any) -> str | None:
        """Why the module cannot take these arguments (their shapes, their dtypes), or None."""
        check = getattr(importlib.import_module(self.module), "refusal", None)
        return check(*arguments) if check else None


@contextmanager
def override(name: str | None) -> Iterator[None]:
    """Runs operations whose call names no implementation by `name`, in the whole process.

    It applies where a function is traced: a function that `jax.jit` has already traced keeps what
    was chosen then. An operation that does not offer `name`, or refuses the arguments, runs its
    reference, and a warning says why. None changes nothing.

    Raises:
        InputError: unknown name; at the call of an operation: a kernel for another platform.
    """
    global _override
    if name is not None and name not in IMPLEMENTATIONS:
        raise InputError(
            f"unknown ops.implementation={name!r}; choose None or one of "
            f"{', '.join(map(repr, IMPLEMENTATIONS))}"
        )
    before = _override
    _override = before if name is None else name
    try:
        yield
    finally:
        _override = before


def platform() -> str:
    """Where a call that is traced now will run by default: "cpu", "gpu" or "tpu"."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    return jax.default_backend() if device is None else getattr(device, "platform", device)


def choose(
    op: str,
    implementation: str | None,
    offered: Mapping[str, Implementation],
    *arguments: Any,
) -> Implementation:
    """Returns what runs `op` on these arguments.

    Args:
        op: name of the operation, for messages.
        implementation: a name of `IMPLEMENTATIONS`; None takes that of `override`, else what
            `MEASURED` favors on this platform, else the reference.
        offered: what the operation offers, by name; "reference" is always among it.
        arguments: what the implementations' `refusal` is asked about.

    Raises:
        InputError: `implementation` is unknown, not offered, refuses these arguments, or is a
            kernel for another platform than the concrete arguments' one. (A function that is
            being traced may be lowered for elsewhere; Pallas then has the last word.)
    """
    reason = None
    if implementation is not None:
        _check_name(op, implementation, offered)
        chosen, reason = implementation, offered[implementation].refusal(*arguments)
        if reason is None and not any(isinstance(a, jax.core.Tracer) for a in _leaves(arguments)):
            reason = _wrong_platform(chosen)
        if reason is not None:
            raise InputError(f"{op} cannot run by {implementation!r}: {reason}")
    else:
        chosen = _override or MEASURED.get((op, platform()), "reference")
        if _override is not None and (reason := _wrong_platform(chosen)) is not None:
            raise InputError(f"ops.implementation={chosen!r} is of no use here: {reason}")
        reason = (
            offered[chosen].refusal(*arguments) if chosen in offered else "there is no such kernel"
        )
        if reason is not None:
            chosen, reason = "reference", f"{chosen!r} was preferred: {reason}"
    _log_once(op, chosen, reason, arguments)
    return offered[chosen]


def vary_together(*arguments: Any) -> tuple[Any, ...]:
    """The arguments, all varying over the mesh axes of a `shard_map` that any of them varies over.

    A differentiation rule returns gradients that vary like its results. What every device shares,
    such as parameters, thereby gets the sum over the devices. Elsewhere it changes nothing.
    """

    def axes(a: Any) -> frozenset[str]:
        return jax.typeof(a).manual_axis_type.varying

    union = frozenset[str]().union(*map(axes, jax.tree.leaves(arguments)))

    def cast(a: Any) -> Any:
        missing = tuple(sorted(union - axes(a)))
        return jax.lax.pcast(a, missing, to="varying") if missing else a

    return jax.tree.map(cast, arguments)


def _check_name(op: str, name: str, offered: Mapping[str, Implementation]) -> None:
    if name in offered:
        return
    names = ", ".join(map(repr, offered))
    if name in IMPLEMENTATIONS:
        raise InputError(
            f"{op} has no implementation={name!r} ({IMPLEMENTATIONS[name]}); "
            f"choose None or one of {names}"
        )
    raise InputError(f"unknown implementation={name!r} for {op}; choose None or one of {names}")


def _wrong_platform(name: str) -> str | None:
    needed = _RUNS_ON.get(name)
    if needed in (None, platform()):
        return None
    return f"it is a {IMPLEMENTATIONS[name]}, and this process runs on {platform()}"


def _leaves(arguments: Any) -> list[Any]:
    return [a for a in jax.tree.leaves(arguments) if hasattr(a, "dtype")]


def _log_once(op: str, chosen: str, reason: str | None, arguments: tuple) -> None:
    shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in _leaves(arguments))
    key = (op, chosen, reason, shapes)
    if key in _logged:
        return
    _logged.add(key)
    if reason is None:
        _log.info("%s runs by %s for %s", op, chosen, shapes)
    else:
        _log.warning("%s runs by %s for %s; %s", op, chosen, shapes, reason)

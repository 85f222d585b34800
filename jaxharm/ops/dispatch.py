"""Chooses which implementation of an operation runs, while a call is traced, and logs it once.

An operation is a folder: `api.py` (checks, gradient rule, the call of `run`), `reference.py` (the
definition in jax.numpy), and for kernels one file per compiler: `pallas_tpu.py` (Mosaic),
`pallas_triton.py`, `pallas_mosaic_gpu.py`, with `configs.py` for the block sizes. A file of kernels
has the functions of the reference, with a keyword `interpret`, and `refusal(*arguments, *settings)`.
See docs/kernels.md.
"""

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

import jax

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.ops import tuned

_log = logging.getLogger(__name__)

# The meaning of each name; an operation has a subset of them.
IMPLEMENTATIONS = {
    "reference": "jax.numpy, on any platform",
    "pallas_tpu": "Pallas kernel for TPU",
    "pallas_gpu": "Pallas kernel for GPU",
    "pallas_mosaic_gpu": "Pallas kernel for GPU through Mosaic GPU, for Hopper and later",
    "pallas_interpret": "the Pallas kernel bodies, interpreted on any platform",
}
_RUNS_ON = {"pallas_tpu": "tpu", "pallas_gpu": "gpu", "pallas_mosaic_gpu": "gpu"}

Arguments = TypeVarTuple("Arguments")
ResultT = TypeVar("ResultT")

_override: str | None = None
_settled: Mapping[str, str] | None = None
_heard: dict[str, "Call"] | None = None
_target: jax.Device | None = None
_logged: set[tuple[str, str, str | None, str]] = set()


@dataclass(frozen=True)
class Implementation:
    """The module of an implementation, imported at the first call."""

    # Imported late, since Pallas is slow to import. Named by strings, since the object must be
    # hashable: it is a static argument of `custom_vjp` functions.

    module: str
    interpret: bool = False

    def call(self, function: str, *arguments: object) -> Any:
        """Calls a function of the module."""
        run = getattr(importlib.import_module(self.module), function)
        return run(*arguments, interpret=True) if self.interpret else run(*arguments)

    def refusal(self, *arguments: object) -> str | None:
        """The reason why the module cannot take these arguments (shapes, dtypes), or None."""
        check = getattr(importlib.import_module(self.module), "refusal", None)
        return check(*arguments) if check else None


@dataclass(frozen=True)
class Call:
    """An operation as a program calls it, without the values of its arrays.

    Attributes:
        op: its name.
        offered: its implementations by name.
        apply: (implementation, *settings, *arguments) -> result; it has a gradient.
        arguments: pytrees of shapes and dtypes.
        settings: what is no array, such as a grid.
    """

    op: str
    offered: Mapping[str, Implementation]
    apply: Callable[..., Any]
    arguments: tuple[Any, ...]
    settings: tuple[Any, ...]

    @property
    def key(self) -> str:
        """What the choice may depend on, as text: the name under which it is kept in files."""
        return _key(self.op, (*self.arguments, *self.settings))

    def kernels(self) -> list[str]:
        """The compiled kernels that are offered on this process's platform."""
        return [name for name in self.offered if _RUNS_ON.get(name) == platform()]

    def run(self, name: str, *arguments: Any) -> Any:
        """The operation on arrays of these shapes, by the implementation of this name."""
        return self.apply(self.offered[name], *self.settings, *arguments)


@contextmanager
def override(name: str | None) -> Iterator[None]:
    """Makes `name` the implementation of all operations whose call names none, in the whole process.

    It takes effect while a function is traced: a function that `jax.jit` has already traced keeps
    what was chosen then. An operation without that implementation, or one that refuses the
    arguments, runs its reference, and a warning gives the reason. None changes nothing.

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


@contextmanager
def settled(names: Mapping[str, str]) -> Iterator[None]:
    """Makes `names`, key of a `Call` -> implementation, the choice of calls that name none.

    In the whole process; other calls run their reference, whatever was measured on this machine, so
    that all processes of a run make the same program. `override` comes first.
    """
    global _settled
    before, _settled = _settled, names
    try:
        yield
    finally:
        _settled = before


@contextmanager
def listening() -> Iterator[dict[str, Call]]:
    """Collects the calls that are traced inside and name no implementation, by their keys.

    They run their reference.
    """
    global _heard
    before, _heard = _heard, {}
    try:
        yield _heard
    finally:
        _heard = before


def kernels_exist(where: str) -> bool:
    """Whether any kernel is compiled for a platform, as `platform` names it."""
    return where in _RUNS_ON.values()


def is_compiled_kernel(name: str | None) -> bool:
    """Whether an implementation is a kernel that a chip's compiler makes."""
    return name in _RUNS_ON


@contextmanager
def compiling_for(device: jax.Device) -> Iterator[None]:
    """Makes every choice that is traced inside, in the whole process, one for `device`.

    It may be a device that only a compiler knows, of a machine that is not here.
    """
    global _target
    before, _target = _target, device
    try:
        yield
    finally:
        _target = before


def platform() -> str:
    """The platform that a call traced now is for: "cpu", "gpu" or "tpu"."""
    device = _target or jax.config.jax_default_device  # type: ignore[attr-defined]
    name = jax.default_backend() if device is None else getattr(device, "platform", device)
    return "gpu" if name in ("cuda", "rocm") else str(name)


def device_kind() -> str:
    """What its maker calls the device that a call traced now is for."""
    return (_target or jax.devices()[0]).device_kind


def run(
    op: str,
    implementation: str | None,
    offered: Mapping[str, Implementation],
    apply: Callable[..., ResultT],
    arguments: tuple[Any, ...],
    settings: tuple[Any, ...] = (),
) -> ResultT:
    """Runs an operation by the implementation that `choose` finds for it.

    Args:
        op, implementation, offered: see `choose`.
        apply: (implementation, *settings, *arguments) -> result.
        arguments: pytrees of arrays.
        settings: what is no array.
    """
    if _heard is not None and implementation is None:
        call = Call(op, offered, apply, jax.tree.map(_shape_of, arguments), settings)
        _heard[call.key] = call
        return apply(offered["reference"], *settings, *arguments)  # nothing is chosen yet
    return apply(choose(op, implementation, offered, *arguments, *settings), *settings, *arguments)


def choose(
    op: str,
    implementation: str | None,
    offered: Mapping[str, Implementation],
    *arguments: object,
) -> Implementation:
    """Chooses the implementation that runs `op` on these arguments.

    Args:
        op: name of the operation, for messages.
        implementation: a name of `IMPLEMENTATIONS`; None takes that of `override`, else what is
            `settled` for this run, else what `jaxharm tune` found best on this kind of device, else
            the reference.
        offered: the implementations that exist, by name; "reference" is always one of them.
        arguments: those of the operation, and its settings; an implementation may refuse them.

    Raises:
        InputError: `implementation` is unknown, does not exist for this operation, refuses these
            arguments, or is a kernel for another platform than the one the arrays are on.
    """
    reason = None
    if implementation is not None:
        _check_name(op, implementation, offered)
        chosen, reason = implementation, offered[implementation].refusal(*arguments)
        # A function that is being traced may be lowered for another machine: there Pallas decides.
        if reason is None and not any(isinstance(a, jax.core.Tracer) for a in _leaves(arguments)):
            reason = _wrong_platform(chosen)
        if reason is not None:
            raise InputError(f"{op} cannot run by {implementation!r}: {reason}")
    else:
        chosen = _override or _known_best(op, arguments) or "reference"
        if _override is not None and (reason := _wrong_platform(chosen)) is not None:
            raise InputError(f"ops.implementation={chosen!r} is of no use here: {reason}")
        reason = (
            offered[chosen].refusal(*arguments) if chosen in offered else "there is no such kernel"
        )
        if reason is not None:
            chosen, reason = "reference", f"{chosen!r} was preferred: {reason}"
    _log_once(op, chosen, reason, arguments)
    return offered[chosen]


def _known_best(op: str, arguments: tuple[object, ...]) -> str | None:
    """What was found best for these arguments, by the run or on this kind of device before."""
    if _settled is not None:
        return _settled.get(_key(op, arguments))
    if not kernels_exist(platform()):
        return None  # there is nothing to choose from, and the device need not be asked for
    return tuned.best(device_kind(), _key(op, arguments))


def vary_together(*arguments: *Arguments) -> tuple[*Arguments]:
    """Marks all arguments as varying over every mesh axis that one of them varies over.

    Outside of `shard_map` it changes nothing.
    """
    # A gradient rule returns gradients that vary like its results, also for arguments that all
    # devices share, such as parameters. The gradient of the cast then sums those over the devices.

    def axes(a: Array) -> frozenset[str]:
        return jax.typeof(a).manual_axis_type.varying

    union = frozenset[str]().union(*map(axes, jax.tree.leaves(arguments)))

    def cast(a: Array) -> Array:
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


def _leaves(arguments: object) -> list[Array]:
    return [a for a in jax.tree.leaves(arguments) if hasattr(a, "dtype")]


def choices() -> dict[str, list[str]]:
    """Operation -> the implementations that calls traced so far in this process run by."""
    found: dict[str, set[str]] = {}
    for op, chosen, _, _ in _logged:
        found.setdefault(op, set()).add(chosen)
    return {op: sorted(names) for op, names in sorted(found.items())}


def _shape_of(array: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _key(op: str, arguments: tuple[object, ...]) -> str:
    rest = [str(a) for a in jax.tree.leaves(arguments) if not hasattr(a, "dtype")]
    return f"{op}: {', '.join([_shapes(arguments), *rest])}"


def _shapes(arguments: object) -> str:
    return ", ".join(f"{a.dtype}{list(a.shape)}" for a in _leaves(arguments))


def _log_once(op: str, chosen: str, reason: str | None, arguments: tuple[object, ...]) -> None:
    shapes = _shapes(arguments)
    key = (op, chosen, reason, shapes)
    if key in _logged:
        return
    _logged.add(key)
    if reason is None:
        _log.info("%s runs by %s for %s", op, chosen, shapes)
    else:
        _log.warning("%s runs by %s for %s; %s", op, chosen, shapes, reason)

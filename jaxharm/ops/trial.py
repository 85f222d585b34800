"""Tries the implementations of an operation on this device: right first, then fast.

A kernel is only taken after its results and gradients agreed with the reference's here: on a small image
of odd sides, where blocks end in the middle, and on arrays of the sizes that the program has.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.interfaces import Array, PyTree
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import Call

# Largest difference from the reference over the largest value. Sums are taken in another order; in
# bfloat16 the results themselves are rounded to 8 bits.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
_ODD_SIDES = (37, 29)
_REFERENCE = "reference"


@dataclass(frozen=True)
class Trial:
    """What one implementation did.

    Attributes:
        milliseconds: of the operation and its gradient; None where it was not timed.
        error: largest difference from the reference over the largest value, of the result and all
            gradients; None for the reference, and where there is no result.
        reason: why it cannot be used; "" where it can.
    """

    milliseconds: float | None = None
    error: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """The best implementation of a call, and the trials that say so, by name."""

    chosen: str
    trials: dict[str, Trial]

    def row(self) -> dict[str, Any]:
        """As run.json and the files of `tuned` hold it."""
        return {"chosen": self.chosen, "trials": {k: asdict(v) for k, v in self.trials.items()}}


def try_all(call: Call, seconds: float = 1.0) -> Verdict:
    """Tries the reference and every kernel of this platform; a warning names each that fails.

    Args:
        call: the operation and its shapes.
        seconds: for timing, of all implementations together.
    """
    names = call.kernels()
    drawn = draw(call.arguments)
    reference = value_and_gradients(call, _REFERENCE)
    expected = reference(drawn)
    share = seconds / (1 + len(names))
    trials = {_REFERENCE: Trial(milliseconds(lambda: reference(drawn), share))}
    for name in names:
        trials[name] = _try(call, name, drawn, expected, share)
        if trials[name].reason:
            warnings.warn(
                f"{call.op} does not run by {name!r} on {dispatch.device_kind()}: "
                f"{trials[name].reason}",
                stacklevel=2,
            )
    timed = {k: v.milliseconds for k, v in trials.items() if v.milliseconds is not None}
    return Verdict(min(timed, key=lambda name: timed[name]), trials)


def _try(call: Call, name: str, drawn: PyTree, expected: PyTree, seconds: float) -> Trial:
    small = odd(call.arguments)
    worst = 0.0
    try:
        for shapes in (small, call.arguments):
            refusal = call.offered[name].refusal(*shapes, *call.settings)
            if refusal is not None and shapes is small:
                continue  # it takes no odd sides, and a program with such calls its reference
            if refusal is not None:
                return Trial(reason=refusal)
            if shapes is small:
                arrays = draw(small)
                right = value_and_gradients(call, _REFERENCE)(arrays)
            else:
                arrays, right = drawn, expected
            worst = max(worst, difference(value_and_gradients(call, name)(arrays), right))
            if not worst <= _tolerance(call):
                size = "odd sides" if shapes is small else "the sizes of this program"
                return Trial(
                    error=worst,
                    reason=f"on arrays of {size} it differs from the reference by {worst:.1e} of the "
                    f"largest value, more than {_tolerance(call):.0e}",
                )
        run = value_and_gradients(call, name)
        return Trial(milliseconds(lambda: run(drawn), seconds), worst)
    # Whatever a compiler or a driver raises: the reference is there.
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return Trial(reason=text[:300])


def value_and_gradients(call: Call, name: str) -> Callable[[PyTree], PyTree]:
    """Compiled: arguments -> (result, gradients by all arguments) for an upstream gradient of waves."""

    def forward(arguments: PyTree) -> PyTree:
        return call.run(name, *arguments)

    def run(arguments: PyTree) -> PyTree:
        result, pull = jax.vjp(forward, arguments)
        return result, pull(jax.tree.map(_waves, result))[0]

    return jax.jit(run)


def _waves(array: Array) -> Array:
    return (
        jnp.cos(jnp.arange(array.size, dtype=jnp.float32)).reshape(array.shape).astype(array.dtype)
    )


def draw(shapes: PyTree) -> PyTree:
    """Random arrays in [0,1) of these shapes and dtypes."""
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(0), max(1, len(leaves)))
    drawn = [jax.random.uniform(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=False)]
    return jax.tree.unflatten(tree, drawn)


def odd(shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments for images of odd sides: every array that has the sides of the first."""
    sides = jax.tree.leaves(shapes)[0].shape[1:3]

    def cut(a: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        if a.ndim < 4 or a.shape[1:3] != sides:
            return a
        return jax.ShapeDtypeStruct((a.shape[0], *_ODD_SIDES, *a.shape[3:]), a.dtype)

    cut_shapes: tuple[Any, ...] = jax.tree.map(cut, shapes)
    return cut_shapes


def difference(found: PyTree, expected: PyTree) -> float:
    """Largest difference over the largest expected value, of the worst array; NaN counts as infinite."""

    def worst(a: Array, b: Array) -> float:
        x, y = np.asarray(a, np.float32), np.asarray(b, np.float32)
        value = float(np.max(np.abs(x - y)) / max(float(np.max(np.abs(y))), 1e-30))
        return value if np.isfinite(value) else float("inf")

    return max(jax.tree.leaves(jax.tree.map(worst, found, expected)))


def milliseconds(run: Callable[[], PyTree], seconds: float) -> float:
    """Median time of a call, within about so many seconds; what it compiles is not counted."""
    jax.block_until_ready(run())
    start = time.perf_counter()
    jax.block_until_ready(run())
    once = max(time.perf_counter() - start, 1e-6)
    together = max(1, int(0.02 / once))  # several in a row hide the cost of starting one
    times = []
    for _ in range(max(1, min(50, int(seconds / (once * together))))):
        start = time.perf_counter()
        jax.block_until_ready([run() for _ in range(together)])
        times.append((time.perf_counter() - start) / together)
    return statistics.median(times) * 1e3


def _tolerance(call: Call) -> float:
    dtype = str(jax.tree.leaves(call.arguments)[0].dtype)
    return _TOLERANCE.get(dtype, _TOLERANCE["bfloat16"])

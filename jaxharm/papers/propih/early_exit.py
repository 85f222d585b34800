"""Runs the stages one by one, and no stage for images that are finished before it.

Two forms. `StageRunner` calls one compiled function per stage from the host: finished images are
set aside, the others are packed into the next smaller batch of a few fixed sizes. `one_program`
is a single compiled program with nested conditions, for shards of a pod: it saves time where all
images of a shard are finished.

Source: docs/papers/propih.md, "Inference".
"""

from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxharm.errors import InputError
from jaxharm.interfaces import Array, Params
from jaxharm.papers.propih.model import (
    STAGES,
    Carry,
    Inputs,
    ProPIH,
    ProPIHConfig,
    Stage,
    check_inputs,
)

ExitMode = Literal["fixed", "gru", "all"]
Arrays = TypeVar("Arrays")


class ExitResult(NamedTuple):
    """Images in order.

    Attributes:
        final: f32[b,h,w,3], the chosen stage's result in the [0,1] scale, not clipped.
        coarse: f32[b,h,w,3], the same before blending.
        stage: i32[b], the chosen stage, 1 to 4.
        finals, coarses: f32[4,b,h,w,3] of every stage in the mode "all", else None.
    """

    final: np.ndarray
    coarse: np.ndarray
    stage: np.ndarray
    finals: np.ndarray | None
    coarses: np.ndarray | None


class StageRunner:
    """Runs a `ProPIH` with as few stages as needed; results depend on no other image.

    Attributes:
        calls: (stage, batch size) of every call of a stage's function so far.
    """

    def __init__(self, model: ProPIH, variables: Params) -> None:
        """Keeps the weights on the device; compilations are per stage, batch size and image size."""
        self._model = model
        self._variables = jax.device_put(variables)
        self.calls: list[tuple[int, int]] = []

    def __call__(
        self,
        composite: np.ndarray,
        mask: np.ndarray,
        background: np.ndarray,
        *,
        mode: ExitMode = "fixed",
        stage: int = STAGES,
        threshold: float = 0.5,
    ) -> ExitResult:
        """Restyles a batch.

        Args:
            composite, mask, background: as `ProPIH`, numpy, any batch size.
            mode: "fixed": every image stops after `stage`; "gru": each stops after the first stage
                whose probability reaches `threshold`, or after the last; "all": no image stops
                early, and every stage's result is returned.
            stage: of "fixed", 1 to 4.
            threshold: of "gru", in [0,1].

        Raises:
            InputError: as `ProPIH`; a stage or threshold out of range; "gru" without an exit head.
        """
        config = self._model.config
        check_exit(config, mode, stage, threshold)
        arrays = check_inputs(config, *(jnp.asarray(a) for a in (composite, mask, background)))
        rows = np.arange(len(composite))  # of the images that are still running
        last = stage if mode == "fixed" else STAGES
        inputs = _take(arrays, _padded(rows))
        carry = start(self._model, self._variables, inputs)
        results = _Results(composite.shape, keep_all=mode == "all")
        for number in range(1, last + 1):
            self.calls.append((number, len(inputs.mask)))
            carry, result = run_stage(self._model, number, self._variables, carry, inputs)
            done = np.full(len(rows), number == last)
            if mode == "gru" and number < last:
                done = np.asarray(nn.sigmoid(result.logit))[: len(rows)] >= threshold
            results.add(number, result, rows, done)
            if done.all():
                break
            if done.any():
                # The rest moves to a smaller batch: what is finished costs nothing any more.
                kept = np.flatnonzero(~done)
                rows, padded = rows[kept], _padded(kept)
                carry, inputs = _take(carry, padded), _take(inputs, padded)
        return results.collected()


class _Results:
    """Gathers the results of images that finish at different stages, in the images' own order."""

    def __init__(self, shape: tuple[int, ...], *, keep_all: bool) -> None:
        self._final, self._coarse = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._stage = np.zeros(shape[0], np.int32)
        self._keep_all = keep_all
        self._all: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, number: int, result: Stage, rows: np.ndarray, done: np.ndarray) -> None:
        """Takes over stage `number` of the images `rows`, of which `done` (bool[n]) are finished."""
        if not (self._keep_all or done.any()):
            return  # nothing is copied from the device in vain
        count = len(rows)  # the batch is padded: what lies beyond is a repetition
        final, coarse = np.asarray(result.final)[:count], np.asarray(result.coarse)[:count]
        self._final[rows[done]], self._coarse[rows[done]] = final[done], coarse[done]
        self._stage[rows[done]] = number
        if self._keep_all:
            self._all.append((final, coarse))

    def collected(self) -> ExitResult:
        """The results of all images."""
        finals, coarses = (
            (np.stack(images) for images in zip(*self._all, strict=True))
            if self._keep_all
            else (None, None)
        )
        return ExitResult(self._final, self._coarse, self._stage, finals, coarses)


def start(model: ProPIH, variables: Params, inputs: Inputs) -> Carry:
    """`ProPIH.start` with weights."""
    carry: Any = model.apply(variables, inputs, method="start")  # Flax types it as anything
    checked: Carry = carry
    return checked


def apply_stage(
    model: ProPIH, number: int, variables: Params, carry: Carry, inputs: Inputs
) -> tuple[Carry, Stage]:
    """`ProPIH.stage` with weights."""
    result: Any = model.apply(variables, number, carry, inputs, method="stage")
    checked: tuple[Carry, Stage] = result
    return checked


# The same program whatever the mode, so that a result does not depend on the mode.
run_stage = jax.jit(apply_stage, static_argnums=(0, 1))


def one_program(
    model: ProPIH,
    variables: Params,
    composite: Array,
    mask: Array,
    background: Array,
    *,
    threshold: float = 0.5,
) -> tuple[Array, Array, Array]:
    """The mode "gru" as one traceable function; no stage runs once all images are finished.

    There is no collective in it: under `shard_map` every shard decides for itself.

    Args:
        model: a `ProPIH` with an exit head.
        variables, composite, mask, background: as for `model.apply`.
        threshold: probability from which an image stops.

    Returns:
        final and coarse f32[b,h,w,3] in the [0,1] scale, not clipped, and the stages i32[b].

    Raises:
        InputError: as `StageRunner`.
    """
    config = model.config
    check_exit(config, "gru", STAGES, threshold)
    inputs = check_inputs(config, composite, mask, background)

    def run(number: int, carry: Carry, found: tuple[Array, ...]) -> tuple[Array, ...]:
        final, coarse, chosen, running = found
        carry, stage = apply_stage(model, number, variables, carry, inputs)
        # All images of the shard are computed; those that stopped earlier keep their result.
        here = running[:, None, None, None]
        final, coarse = jnp.where(here, stage.final, final), jnp.where(here, stage.coarse, coarse)
        chosen = jnp.where(running, number, chosen)
        if stage.logit is None:  # after the last stage there is nothing to decide
            return final, coarse, chosen, running
        running = running & (nn.sigmoid(stage.logit) < threshold)
        return jax.lax.cond(
            jnp.any(running),
            lambda: run(number + 1, carry, (final, coarse, chosen, running)),
            lambda: (final, coarse, chosen, running),
        )

    count, blank = len(composite), jnp.zeros_like(inputs.composite)
    first = (blank, blank, jnp.zeros(count, jnp.int32), jnp.ones(count, bool))
    final, coarse, chosen, _ = run(1, start(model, variables, inputs), first)
    return final, coarse, chosen


@jax.jit
def _take(arrays: Arrays, rows: Array) -> Arrays:
    """The rows of every array of a tree."""
    taken: Arrays = jax.tree.map(lambda array: array[rows], arrays)
    return taken


def _padded(rows: np.ndarray) -> np.ndarray:
    """The rows, with the last one repeated to the next power of two: few shapes to compile."""
    size = 1 << (len(rows) - 1).bit_length()
    return np.concatenate([rows, np.full(size - len(rows), rows[-1])])


def check_exit(config: ProPIHConfig, mode: str, stage: int, threshold: float) -> None:
    """InputError where a mode, stage or threshold does not exist for a model of `config`."""
    if mode not in ("fixed", "gru", "all"):
        raise InputError(f"exit mode {mode!r}: choose fixed, gru or all")
    if mode == "fixed" and not 1 <= stage <= STAGES:
        raise InputError(f"stage {stage}: ProPIH has the stages 1 to {STAGES}")
    if mode == "gru" and not config.exit_head:
        raise InputError(
            "these weights have no exit head, so that no stage can be chosen automatically: train "
            "one with configs/propih/exit_head.py, or choose a stage from 1 to 4"
        )
    if not 0 <= threshold <= 1:
        raise InputError(f"exit threshold {threshold} is not in [0, 1]")

"""ProPIH stage by stage: nothing of a stage runs before the stage before has decided to go on.

Two forms. `StageRunner` calls one compiled function per stage from the host: images that have left
are set aside, the others are packed into the next smaller batch of a few fixed sizes. `one_program`
is a single compiled program with nested conditions, for shards of a pod: it saves where all images
of a shard have left.

Source: specs/propih 3.5.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.papers.propih.model import STAGES, Carry, Inputs, Stage, check_inputs

ExitMode = Literal["fixed", "gru", "all"]


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
    """Runs a `ProPIH` with as few stages as asked for; results depend on no other image.

    Attributes:
        calls: (stage, batch size) of every call of a stage's function so far.
    """

    def __init__(self, model: Any, variables: Any) -> None:
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
            mode: "fixed": all images leave at `stage`; "gru": each leaves at the first stage whose
                probability reaches `threshold`, else at the last; "all": nothing leaves early, and
                every stage's result is returned.
            stage: of "fixed", 1 to 4.
            threshold: of "gru", in [0,1].

        Raises:
            InputError: as `ProPIH`; a stage or threshold out of range; "gru" without an exit head.
        """
        config = self._model.config
        check_exit(config, mode, stage, threshold)
        arrays = check_inputs(config, *(jnp.asarray(a) for a in (composite, mask, background)))
        count, rows = len(composite), np.arange(len(composite))
        last = stage if mode == "fixed" else STAGES
        inputs = _take(arrays, _padded(rows))
        carry: Carry = self._model.apply(self._variables, inputs, method="start")
        final, coarse = np.empty(composite.shape, np.float32), np.empty(composite.shape, np.float32)
        chosen = np.full(count, last, np.int32)
        finals, coarses = [], []
        for number in range(1, last + 1):
            self.calls.append((number, len(inputs.mask)))
            carry, result = run_stage(self._model, number, self._variables, carry, inputs)
            leave = np.zeros(len(rows), bool)
            if number == last:
                leave[:] = True
            elif mode == "gru":
                leave = np.asarray(nn.sigmoid(result.logit))[: len(rows)] >= threshold
            if mode == "all" or leave.any():
                images = np.asarray(result.final)[: len(rows)], np.asarray(result.coarse)
                gone = rows[leave]
                final[gone], coarse[gone] = images[0][leave], images[1][: len(rows)][leave]
                chosen[gone] = number
                if mode == "all":
                    finals.append(images[0])
                    coarses.append(images[1][: len(rows)])
            if leave.all():
                break
            if leave.any():
                kept = np.flatnonzero(~leave)
                rows, padded = rows[kept], _padded(kept)
                carry, inputs = _take(carry, padded), _take(inputs, padded)
        whole = mode == "all"
        return ExitResult(
            final,
            coarse,
            chosen,
            np.stack(finals) if whole else None,
            np.stack(coarses) if whole else None,
        )


@partial(jax.jit, static_argnums=(0, 1))
def run_stage(
    model: nn.Module, number: int, variables: Any, carry: Carry, inputs: Inputs
) -> tuple[Carry, Stage]:
    """`ProPIH.stage`, compiled: the same program whatever the mode."""
    result: Any = model.apply(variables, number, carry, inputs, method="stage")
    return result


def one_program(
    model: Any,
    variables: Any,
    composite: Array,
    mask: Array,
    background: Array,
    *,
    threshold: float = 0.5,
) -> tuple[Array, Array, Array]:
    """The mode "gru" as one traceable function; no stage runs once all images have left.

    There is no collective in it: under `shard_map` every shard decides for itself.

    Args:
        model: a `ProPIH` with an exit head.
        variables, composite, mask, background: as for `model.apply`.
        threshold: probability from which an image leaves.

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
        carry, stage = model.apply(variables, number, carry, inputs, method="stage")
        here = running[:, None, None, None]
        final, coarse = jnp.where(here, stage.final, final), jnp.where(here, stage.coarse, coarse)
        chosen = jnp.where(running, number, chosen)
        if number == STAGES:
            return final, coarse, chosen, running
        running = running & (nn.sigmoid(stage.logit) < threshold)
        return jax.lax.cond(
            jnp.any(running),
            lambda: run(number + 1, carry, (final, coarse, chosen, running)),
            lambda: (final, coarse, chosen, running),
        )

    count, blank = len(composite), jnp.zeros_like(inputs.composite)
    start: Any = model.apply(variables, inputs, method="start")
    first = (blank, blank, jnp.zeros(count, jnp.int32), jnp.ones(count, bool))
    final, coarse, chosen, _ = run(1, start, first)
    return final, coarse, chosen


@jax.jit
def _take(arrays: Any, rows: Array) -> Any:
    return jax.tree.map(lambda array: array[rows], arrays)


def _padded(rows: np.ndarray) -> np.ndarray:
    """The rows, with the last one repeated to the next power of two: few shapes to compile."""
    size = 1 << (len(rows) - 1).bit_length()
    return np.concatenate([rows, np.full(size - len(rows), rows[-1])])


def check_exit(config: Any, mode: str, stage: int, threshold: float) -> None:
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

"""Training of PHNet: its loss, and the options that concern its batch statistics and biases.

Source: docs/papers/phnet.md, "Losses" and "Training". The losses see the network's raw image; the blended one is only
evaluated. Unlike the released trainer, all means are over the global batch.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxharm.config import TrainConfig
from jaxharm.fields import NonNegative, Positive, Probability, check_fields
from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Metrics,
    NoExtras,
    Output,
    Params,
    StepContext,
    TrainState,
)
from jaxharm.losses.pixel import (
    foreground_normalized_error,
    masked_absolute_error,
    squared_error,
)
from jaxharm.losses.reduction import reduce_ratio
from jaxharm.papers.phnet.losses import gradient_difference, gray_world_error, psnr_loss
from jaxharm.papers.phnet.model import BATCH_NORM_STEPS, STEPS, PHNet
from jaxharm.schema import present
from jaxharm.training.supervised import SupervisedSystem

# Biases in front of a normalization: their true gradient is zero.
_IDLE_BIASES = frozenset(
    [(f"encoder{i + 1}", "conv", "bias") for i in range(STEPS)]
    + [(f"decoder{i}", "up", "bias") for i in range(BATCH_NORM_STEPS)]
)


@dataclass(frozen=True)
class PHNetObjective:
    """Loss weights and choices; defaults are the release's. Terms of weight 0 are not computed.

    Attributes:
        psnr: weight of the PSNR term.
        fnmse: weight of the foreground-normalized squared error.
        gradient: weight of the term of image gradients.
        l2: weight of the squared error.
        l1: weight of the absolute error.
        color: weight of the gray-world term.
        color_start: share of the run after which the color term counts (epoch 101 of 300).
        fnmse_on_blended: whether FnMSE sees the blended image, so that only foreground counts.
        fnmse_min_area: pixels that the foreground counts as at least.
        bn_axis: batch statistics over the global batch, or over each device's part as released
            (running statistics are then averaged over the devices; without effect under
            parallel="jit", where no device axis exists).
        freeze_idle_biases: leaves alone the biases in front of a normalization. Their gradient
            is rounding noise, which Lion turns into full-size steps.
    """

    psnr: NonNegative = 0.2
    fnmse: NonNegative = 0.01
    gradient: NonNegative = 0.01
    l2: NonNegative = 0.0
    l1: NonNegative = 0.0
    color: NonNegative = 0.0
    color_start: Probability = 101 / 300
    fnmse_on_blended: bool = False
    fnmse_min_area: Positive = 100.0
    bn_axis: Literal["global", "local"] = "global"
    freeze_idle_biases: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class PHNetSystem(SupervisedSystem[PHNetObjective, NoExtras]):
    """PHNet under `PHNetObjective`."""

    MODEL = PHNet

    @classmethod
    def from_config(cls, config: TrainConfig, *, total_steps: int) -> Self:
        """The system of `config`, for a run of `total_steps`."""
        system = super().from_config(config, total_steps=total_steps)
        if not config.objective.freeze_idle_biases:
            return system
        frozen = optax.masked(optax.set_to_zero(), _idle_biases)
        return dataclasses.replace(system, optimizer=optax.chain(system.optimizer, frozen))

    def module(self, axis_name: str | None = None) -> nn.Module:
        """The Flax module; its batch statistics cover the devices unless they are local."""
        return super().module(None if self._local else axis_name)

    def step(
        self, state: TrainState, batch: DeviceBatch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One optimization step; see `interfaces.System`."""
        state, metrics = super().step(state, batch, axis_name=axis_name)
        if self._local and axis_name is not None:
            collections = jax.lax.pmean(state.collections, axis_name)
            state = dataclasses.replace(state, collections=collections)
        return state, metrics

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: NoExtras
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; terms are named "psnr_loss" and so on."""
        weights = self.objective
        raw, target, mask = output.aux["raw"], present(batch.target, "target"), batch.mask
        total = jnp.zeros(())
        terms: Metrics = {}
        ratios: dict[str, Any] = {
            "l2": lambda: squared_error(raw, target),
            "l1": lambda: masked_absolute_error(raw, target, mask),
            "gradient": lambda: gradient_difference(raw, target, mask),
            "fnmse": lambda: foreground_normalized_error(
                output.image if weights.fnmse_on_blended else raw,
                target,
                mask,
                min_area=weights.fnmse_min_area,
            ),
        }
        for name, ratio in ratios.items():
            weight = getattr(weights, name)
            if weight:
                numerator, count = terms[f"{name}_loss"] = reduce_ratio(ratio(), ctx.axis_name)
                total += weight * numerator / count
        if weights.psnr:
            error, count = reduce_ratio(squared_error(raw, target), ctx.axis_name)
            terms["psnr_loss"] = psnr_loss(error / count), jnp.ones(())
            total += weights.psnr * terms["psnr_loss"][0]
        if weights.color:
            terms["color_loss"] = reduce_ratio(gray_world_error(raw), ctx.axis_name)
            share = ctx.step.astype(jnp.float32) / ctx.total_steps
            started = share >= weights.color_start
            # A sum over the batch, as released, not a mean.
            total += weights.color * started * terms["color_loss"][0]
        return total, terms

    @property
    def length_matters(self) -> bool:
        """The color term starts at a share of the run."""
        weights = self.objective
        return super().length_matters or bool(weights.color and weights.color_start)

    @property
    def _local(self) -> bool:
        return self.objective.bn_axis == "local"


def _idle_biases(params: Params) -> Any:
    """A tree of booleans: which leaves are idle biases."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: tuple(str(entry.key) for entry in path) in _IDLE_BIASES, params
    )

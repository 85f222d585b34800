"""What all runners have in common: the weights, the measured stages, alpha, a missing background."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic

import jax
import numpy as np
from flax import linen as nn

from jaxharm.errors import InputError
from jaxharm.inference.pixels import with_alpha
from jaxharm.interfaces import (
    Array,
    Inputs,
    ModelConfig,
    OptionsT,
    Output,
    Params,
    PredictionT,
    PreparedT,
    RunnerSettings,
)


@dataclass(frozen=True)
class NoOptions:
    """The options of a model that has none."""


class BaseRunner(ABC, Generic[OptionsT, PreparedT, PredictionT]):
    """A `jaxharm.interfaces.Runner` but for the three stages, which a subclass writes.

    Attributes:
        model, settings: as they were given.
        background_role: what the background is for this kind of model, for messages.
    """

    Options: type[OptionsT]
    parametric = False
    fills_background = False
    outputs: tuple[str, ...] = ("image",)
    background_role = ""

    def __init__(self, model: nn.Module, variables: Params, settings: RunnerSettings) -> None:
        """Puts the weights on the device, where they stay."""
        self.model = model
        self.settings = settings
        # Once: arrays of the host would be copied to the device on every call.
        self._variables = jax.device_put(variables)

    def check(self, options: OptionsT) -> None:
        """InputError where these weights cannot do what the options ask for."""
        del options

    def prepare(self, inputs: Inputs, options: OptionsT) -> PreparedT:
        """What the network sees of an image; InputError where the image does not suit it."""
        settings = self.settings
        missing = inputs.background is None and not self.fills_background
        if settings.needs_background and missing:
            role = f": {self.background_role}" if self.background_role else ""
            raise InputError(
                f"{settings.name} needs a background image of the composite's size{role}"
            )
        with settings.timer("prepare"):
            return self._prepare(inputs, options)

    def predict(self, prepared: PreparedT, options: OptionsT) -> PredictionT:
        """What the network makes of it, at the size that it sees."""
        # Chips round the factors of float32 products unless told otherwise; evaluation tells them so.
        chosen = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
        with self.settings.timer("predict"), jax.default_matmul_precision(chosen or "highest"):
            return self._predict(prepared, options)

    def apply(
        self, inputs: Inputs, prediction: PredictionT, strength: float, options: OptionsT
    ) -> np.ndarray:
        """The result at the size of `inputs`, in the composite's dtype, with its alpha."""
        with self.settings.timer("render"):
            return with_alpha(self._apply(inputs, prediction, strength, options), inputs)

    def run(self, inputs: Inputs, strength: float, options: OptionsT) -> np.ndarray:
        """All three stages."""
        prediction = self.predict(self.prepare(inputs, options), options)
        return self.apply(inputs, prediction, strength, options)

    @abstractmethod
    def as_is(self, height: int, width: int) -> bool:
        """Whether the network sees an image of this size just as it is."""

    @abstractmethod
    def _prepare(self, inputs: Inputs, options: OptionsT) -> PreparedT:
        """See `prepare`."""

    @abstractmethod
    def _predict(self, prepared: PreparedT, options: OptionsT) -> PredictionT:
        """See `predict`; the result lies in memory of the host."""

    @abstractmethod
    def _apply(
        self, inputs: Inputs, prediction: PredictionT, strength: float, options: OptionsT
    ) -> np.ndarray:
        """See `apply`; without alpha."""


def config_of(module: nn.Module) -> ModelConfig:
    """The Config of a model, which every registered one has; nn.Module does not say so."""
    config: ModelConfig = module.config
    return config


def apply_network(
    model: nn.Module, variables: Params, composite: Array, mask: Array, background: Array | None
) -> Output:
    """The network's output for f32[b,h,w,c] inputs in [0,1]; traceable."""
    # Flax types `apply` as anything, or a pair with mutated collections, of which there are none.
    output: Any = model.apply(variables, composite, mask, background=background, train=False)
    checked: Output = output
    return checked


def check_least_size(inputs: Inputs, least: int) -> None:
    """InputError where a side of the image is below `least` pixels."""
    height, width = inputs.mask.shape
    if min(height, width) < least:
        raise InputError(
            f"the image is {width}x{height} pixels and this model needs at least {least} on each "
            "side; enlarge it or give a size to predict at"
        )

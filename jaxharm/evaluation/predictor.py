"""Predictions for evaluation: at any size, the picture that `harmonize` makes.

A size at which the network sees the image just as it is goes through `System.predict`, a batch at a
time on all devices. Any other one goes through the model's runner, one image after the other:
parametric models predict at their own size and are applied at that of the image, large images are
predicted small, odd ones are padded. A weaker change than the model's own is made by the runner too,
as `harmonize` makes it.
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from jaxharm import registry
from jaxharm.errors import InputError
from jaxharm.images.bit_depth import to_unit
from jaxharm.inference.loading import runner_class
from jaxharm.inference.options import check_strength
from jaxharm.interfaces import Inputs, Output, Params, RunnerSettings, System
from jaxharm.schema import HostArray, HostBatch, present


class Predictor:
    """Host batch -> Output whose image f32[b,h,w,3] in [0,1] is what `harmonize` gives.

    Args:
        system: the trained system.
        variables: of its deployed model, as `System.variables` gives them.
        predict: `System.predict` with its state, for host batches.
        strength: 0 leaves the composite, 1 is the model's result.
        threads: images that are prepared and rendered side by side.
    """

    def __init__(
        self,
        system: System,
        variables: Params,
        predict: Callable[[HostBatch], Output],
        *,
        strength: float = 1.0,
        threads: int = 4,
    ):
        check_strength(strength)
        entry = registry.get(system.name)
        module = registry.build_model(system.name, system.config.model)
        settings = RunnerSettings(system.name, entry.needs_background)
        self._runner = runner_class(entry)(module, variables, settings)
        chosen = system.harmonize_options()
        self._options = self._runner.Options() if chosen is None else chosen
        self._predict, self._strength, self._threads = predict, strength, threads

    def __call__(self, batch: HostBatch) -> Output:
        height, width = batch.composite.shape[1:3]
        if self._strength == 1 and self._runner.as_is(height, width):
            return self._predict(batch)
        with ThreadPoolExecutor(self._threads) as pool:
            images = list(pool.map(partial(self._harmonized, batch), range(len(batch.composite))))
        image: Any = np.stack(images)  # in memory of the host, as `predict` gives it too
        return Output(image=image)

    def _harmonized(self, batch: HostBatch, i: int) -> HostArray:
        background = None if batch.background is None else batch.background[i]
        given = Inputs(batch.composite[i], None, batch.mask[i, ..., 0], background)
        # Measured is what the model gives, not its rounding to 8 bits.
        floats = dataclasses.replace(
            given,
            composite=to_unit(given.composite),
            background=None if background is None else to_unit(background),
        )
        if not given.mask.any():  # nothing to harmonize, which runners refuse
            return floats.composite
        runner, options = self._runner, self._options
        try:
            prediction = runner.predict(runner.prepare(given, options), options)
            result: HostArray = runner.apply(floats, prediction, self._strength, options)
        except InputError as error:
            raise InputError(f"{present(batch.composite_id, 'composite_id')[i]}: {error}") from None
        return result

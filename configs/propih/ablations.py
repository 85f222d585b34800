"""Overlays of ProPIH: the paper's ablations, the options that its release leaves open, early exit.

The paper's tables were not at hand: the first two rows are those that its abstract names. Rows named
exit_... change nothing in training: they evaluate the same weights at that stage (eval.py).
"""

from dataclasses import replace
from typing import Any

from jaxharm.config import Overlay, TrainConfig
from jaxharm.errors import InputError
from jaxharm.papers.propih.system import ProPIHObjective


def _model(**changes: Any) -> Overlay:
    return lambda config: replace(config, model=replace(config.model, **changes))


def _objective(**changes: Any) -> Overlay:
    def overlay(config: TrainConfig) -> TrainConfig:
        if not isinstance(config.objective, ProPIHObjective):
            raise InputError(
                "the exit head is trained for a generator: give the overlay to its run"
            )
        return replace(config, objective=replace(config.objective, **changes))

    return overlay


def _final_only(config: TrainConfig) -> TrainConfig:
    """Stages 1 to 3 then learn through stage 4: the gradient must pass."""
    return _model(detach_previous=False)(_objective(supervise_stages=(4,))(config))


OVERLAYS: dict[str, Overlay] = {
    "style_all_layers": _objective(style_layers="all"),  # the full style loss at every stage
    "final_only": _final_only,  # no losses of the stages 1 to 3
    "no_coarse": _objective(supervise_coarse=False),
    "no_detach": _model(detach_previous=False),  # without stop-gradient between the stages
    "adain_background": _model(style_region="background"),
    "no_discriminator": _objective(discriminator=None),
    "gan_apart": _objective(gan_sum_before_mse=False),
    **{f"exit_{k}": _objective(result_stage=k) for k in (1, 2, 3, 4)},
}

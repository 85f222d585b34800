"""Overlays for the rows of PIH's ablations; they fit every config of this folder.

The paper's table was not at hand: the rows are those that its text and its released options name.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxharm.config import Overlay, TrainConfig
from jaxharm.papers.pih.pixel_output import PIHPixelsConfig
from jaxharm.papers.pih.system import AdversarialConfig


def _model(**fields: Any) -> Overlay:
    return lambda config: replace(config, model=replace(config.model, **fields))


def _each(prefix: str, field: str, values: Mapping[str, Any]) -> dict[str, Overlay]:
    return {f"{prefix}_{label}": _model(**{field: value}) for label, value in values.items()}


def _streams(recon_ratio: float) -> Overlay:
    """Both networks; the share of steps on pairs."""

    def overlay(config: TrainConfig) -> TrainConfig:
        adversarial = config.objective.adversarial or AdversarialConfig()
        adversarial = replace(adversarial, recon_ratio=recon_ratio)
        # The share 1 keeps the data as they are: alike for every row that is compared.
        unpaired = config.data.unpaired
        unpaired = replace(unpaired, enabled=unpaired.enabled or recon_ratio < 1)
        return replace(
            config,
            objective=replace(config.objective, adversarial=adversarial),
            data=replace(config.data, unpaired=unpaired),
        )

    return overlay


def _synthetic_pairs(config: TrainConfig) -> TrainConfig:
    """The same photographs, their foregrounds recolored at random in place of the given edits."""
    synthesis = replace(config.data.synthesis, probability=1.0)
    return replace(config, data=replace(config.data, synthesis=synthesis))


def _light(config: TrainConfig) -> TrainConfig:
    return replace(config, system="pih_light", model=replace(config.model, light=True))


def _pixel_output(config: TrainConfig) -> TrainConfig:
    return replace(config, system="pih_pixels", model=PIHPixelsConfig.like(config.model))


def _no_discriminator(config: TrainConfig) -> TrainConfig:
    return replace(config, objective=replace(config.objective, adversarial=None))


OVERLAYS: dict[str, Overlay] = {
    # Stages: curves alone, or with the shading map (the full model).
    "curves_only": _model(masking=False),
    "curves_shading": _model(masking=True),
    # Parameters against pixels: a network of the shading net's sizes that gives colors.
    "pixel_output": _pixel_output,
    # Streams: pairs with both losses, real composites alone, or each step one of the two.
    "supervised_only": _streams(1.0),
    "unsupervised_only": _streams(0.0),
    "dual_stream": _streams(0.5),
    # Pairs and the reconstruction loss alone: one network.
    "no_discriminator": _no_discriminator,
    # Pairs to learn from: those of the data set (retouched by artists, say), or made at random.
    "synthetic_pairs": _synthetic_pairs,
    "light": _light,
    **_each("knots", "knots", {str(n): n for n in (8, 16, 32, 64)}),
    # Lower bound of the gain; 0.5 in the training script, 0.6 with the released weights.
    **_each("mask_offset", "mask_offset", {"0": 0.0, "25": 0.25, "50": 0.5, "60": 0.6, "75": 0.75}),
}

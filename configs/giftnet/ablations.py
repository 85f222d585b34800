"""Overlays of GiftNet's ablations; what each row asks is beside it.

The teacher is set as for the config itself (--set objective.teacher=DIR); rows without distillation
need none.
"""

from dataclasses import replace
from typing import Any

from jaxharm.config import Overlay, TrainConfig

from ..issam.ablations import OVERLAYS as ISSAM


def _model(**changes: Any) -> Overlay:
    return lambda config: replace(config, model=replace(config.model, **changes))


def _distillation(**changes: Any) -> Overlay:
    def overlay(config: TrainConfig) -> TrainConfig:
        distillation = replace(config.objective.rd, **changes)
        return replace(config, objective=replace(config.objective, rd=distillation))

    return overlay


def _both(first: Overlay, second: Overlay) -> Overlay:
    return lambda config: second(first(config))


_NO_GIFT = _model(sites=())
_NO_DISTILLATION = _distillation(weight=0.0)

OVERLAYS: dict[str, Overlay] = {
    "full": lambda config: config,
    "issam": _both(_NO_GIFT, _NO_DISTILLATION),  # neither part: the backbone
    "rd_only": _NO_GIFT,  # distillation of the plain encoder's features
    "gift_no_rd": _NO_DISTILLATION,
    # What guides the transformation.
    "gift_local": _model(guidance="local"),
    "gift_unguided": _model(guidance="none"),  # the same convolutions without any code
    # Where it stands.
    "gift_encoder": _model(sites=("encoder",)),
    "gift_skip_only": _model(sites=("skip",)),
    "gift_out_only": _model(sites=("out",)),  # in the decoder
    "gift_encoder_decoder": _model(sites=("encoder", "out")),
    "no_ssam": _model(ssam=False),
    # What is distilled.
    "rd_feature": _distillation(mode="feature"),
    "rd_raw_encoder": _distillation(features="raw_encoder"),
    "rd_background": _distillation(positions="background"),
    "rd_foreground": _distillation(positions="foreground"),
    "rd_joint": _distillation(joint=True),
    # At which levels (0 is the deepest skip, 3 the bottleneck), and how strongly.
    **{f"rd_level{i}": _distillation(levels=(i,)) for i in range(4)},
    "rd_all_levels": _distillation(levels=(0, 1, 2, 3)),
    "rd_weight_0.1": _distillation(weight=0.1),
    "rd_weight_10": _distillation(weight=10.0),
    # HAdobe5k at larger sizes (the teacher with the same overlay), the test-time flip.
    **ISSAM,
}

"""Overlays of PHNet: number and place of the PN blocks, the bottleneck, losses, optimizers, data.

The paper's own tables were not at hand; the rows are those that a summary of it names (PN blocks, PFE,
optimizer), the terms of the released loss, and evaluation on the other data set.
"""

from dataclasses import replace
from typing import Any

from jaxharm.config import Overlay


def _model(**changes: Any) -> Overlay:
    return lambda config: replace(config, model=replace(config.model, **changes))


def _loss(**weights: Any) -> Overlay:
    return lambda config: replace(config, objective=replace(config.objective, **weights))


def _optimizer(name: str, lr: float, **changes: Any) -> Overlay:
    return lambda config: replace(
        config, optim=replace(config.optim, name=name, lr=lr, b1=0.9, **changes)
    )


def _evaluated_on(name: str, split: str, protocol: str) -> Overlay:
    """Weights of one data set, measured on another: nothing changes in training."""
    return lambda config: replace(
        config, eval=replace(config.eval, data=name, split=split, protocol=protocol)
    )


OVERLAYS: dict[str, Overlay] = {
    # Number and place: decoder steps 0 (bottleneck) to 5 (image). Released: the last three (FFHQH)
    # or the last two (iHarmony4).
    "pn_none": _model(pn_steps=()),
    "pn_last": _model(pn_steps=(5,)),
    "pn_last_2": _model(pn_steps=(4, 5)),
    "pn_last_3": _model(pn_steps=(3, 4, 5)),
    "pn_last_4": _model(pn_steps=(2, 3, 4, 5)),
    "pn_all": _model(pn_steps=(0, 1, 2, 3, 4, 5)),
    "pn_first_3": _model(pn_steps=(0, 1, 2)),
    # The bottleneck: without the patch-based extractor it is plain squeeze-and-excitation.
    "no_pfe": _model(pfe=False),
    "no_se": _model(se=False),
    "no_gates": _model(pfe=False, se=False),
    # Terms of the loss; the others keep their released weights.
    "no_psnr": _loss(psnr=0.0),
    "no_fnmse": _loss(fnmse=0.0),
    "no_gradient": _loss(gradient=0.0),
    "psnr_only": _loss(fnmse=0.0, gradient=0.0),
    "with_color": _loss(color=0.01),
    # Optimizers. Lion's rate is the released one; those of the others are ours, ten times higher:
    # Lion's authors give it a rate three to ten times below AdamW's (arXiv 2302.06675).
    "adam": _optimizer("adam", 1e-4, b2=0.999),
    "adamw": _optimizer("adamw", 1e-4, b2=0.999, weight_decay=1e-2),
    # The other data set, both at 256x256.
    "eval_iharmony4": _evaluated_on("iharmony4", "test", "phnet_256"),
    "eval_ffhqh": _evaluated_on("ffhqh", "test", "phnet_256"),
}

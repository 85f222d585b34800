"""Overlays that fit every config; a paper's own ones are in `<model>/ablations.py`."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from jaxharm.config import Overlay, TrainConfig


def _shrunk(part: Any) -> Any:
    """A part of a config with every network in it, such as a discriminator, at its smallest."""
    if hasattr(part, "shrunk"):
        return part.shrunk()
    inner = {field.name: getattr(part, field.name) for field in fields(part)}
    return replace(part, **{name: _shrunk(v) for name, v in inner.items() if is_dataclass(v)})


def smoke(config: TrainConfig) -> TrainConfig:
    """Ten steps with the smallest networks on 64x64 images: does the machine run it at all?

    Every choice of the config and of other overlays stays; give this one last.
    """
    return replace(
        config,
        model=_shrunk(config.model),
        objective=_shrunk(config.objective),
        steps=10,
        epochs=None,
        init_from=None,  # weights of the full size would not fit
        data=replace(config.data, image_size=64, batch_size=8, num_workers=0),
        eval=replace(config.eval, every=0, batch_size=8),
        checkpoint=replace(config.checkpoint, every=5),
        log=replace(config.log, every=1, images_every=5),
    )


def finetune(config: TrainConfig) -> TrainConfig:
    """100 steps at half of the learning rate, evaluated every 10: from the weights of `init_from`.

    For weights that are good already and a few pairs of one's own: enough to take on their look, too
    little to learn them by heart. Of the pairs, at most a quarter is recolored at random: the look is
    theirs.
    """
    synthesis = config.data.synthesis
    synthesis = replace(synthesis, probability=min(synthesis.probability, 0.25))
    optim = replace(
        config.optim,
        lr=config.optim.lr / 2,
        schedule="cosine",
        warmup_steps=10,
        final_lr=0.0,
        milestones=(),
    )
    return replace(
        config,
        data=replace(config.data, synthesis=synthesis),
        optim=optim,
        steps=100,
        epochs=None,
        eval=replace(config.eval, every=10),
        checkpoint=replace(config.checkpoint, every=100),
        log=replace(config.log, every=10),
        # An average over much more than the run would hold the old weights.
        ema_decay=None if config.ema_decay is None else min(config.ema_decay, 0.95),
    )


OVERLAYS: dict[str, Overlay] = {"smoke": smoke, "finetune": finetune}

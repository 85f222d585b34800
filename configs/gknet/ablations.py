"""Overlays of GKNet: the paper's components left out or replaced, and the training protocols.

The paper's own ablation tables could not be found: the rows are the open choices of
docs/papers/gknet.md, "What we decided".
"""

from dataclasses import replace
from typing import Any

from jaxharm.config import AugmentConfig, Overlay, TrainConfig


def _model(**changes: Any) -> Overlay:
    return lambda config: replace(config, model=replace(config.model, **changes))


def protocol_issam(config: TrainConfig) -> TrainConfig:
    """The released recipe of the first attention U-Net: a higher rate, larger smallest area."""
    return replace(
        config,
        objective=replace(config.objective, a_min=1000.0),
        optim=replace(config.optim, lr=1e-3, warmup_steps=0, clip_norm=None),
    )


def protocol_dht(config: TrainConfig) -> TrainConfig:
    """The released recipe of D-HT: 30 epochs at a constant rate, 30 of linear decay.

    The release does not fix the batch; 4 is its default.
    """
    return replace(
        config,
        model=replace(config.model, input_norm="none", blend_train=False, init="normal"),
        objective=replace(config.objective, loss="l1", weight=100.0),
        data=replace(config.data, batch_size=4, augment=AugmentConfig(flip=0.5)),
        optim=replace(
            config.optim,
            lr=1e-4,
            b1=0.5,
            schedule="linear",
            milestones=(0.5,),
            warmup_steps=0,
            clip_norm=None,
        ),
        steps=None,
        epochs=60,
    )


OVERLAYS: dict[str, Overlay] = {
    "full": lambda config: config,
    "protocol_default": lambda config: config,  # between the other two
    "protocol_issam": protocol_issam,
    "protocol_dht": protocol_dht,
    # Components left out.
    "no_lre": _model(lre_depth=0),  # its input projection stays
    "no_modulation": _model(modulate_levels=()),  # no kernel prediction either: a plain decoder
    # Fusion.
    "scf_sum": _model(scf_mode="sum"),
    "scf_concat": _model(scf_mode="concat"),
    "scf_correlation": _model(scf_descriptor="gap_corr"),
    # Kernels.
    "kernel_1": _model(kernel_size=1),
    "kernel_3": _model(kernel_size=3),
    "kernel_5": _model(kernel_size=5),
    "kernel_7": _model(kernel_size=7),
    "kernel_shared": _model(kernel_groups=1),
    "kernel_groups_16": _model(kernel_groups=16),
    "kernel_raw": _model(kernel_param="raw"),
    "kernel_softmax": _model(kernel_param="softmax"),
    # Levels (3 is the deepest of the decoder).
    "levels_3": _model(modulate_levels=(3,)),
    "levels_32": _model(modulate_levels=(3, 2)),
    "levels_321": _model(modulate_levels=(3, 2, 1)),
    "levels_3210": _model(modulate_levels=(3, 2, 1, 0)),
    # Wiring, and the transformer.
    "kpb_unchained": _model(kpb_chain=False),
    "kpb_local_decoder": _model(kpb_local="decoder"),
    "lre_fg_to_bg": _model(lre_attn_mask="fg_to_bg"),
    "lre_all_to_bg": _model(lre_attn_mask="all_to_bg"),
    "lre_9_layers": _model(lre_depth=9, lre_heads=2),
    "lre_no_positions": _model(lre_pos="none"),
    "decoder_from_lre": _model(decoder_input="lre"),
}

"""The options of GKNet, and the checks of those that must fit together."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from jaxharm.errors import InputError
from jaxharm.fields import Count, Decay, Natural, Probability, Range, check_fields
from jaxharm.nn.init import Initializer, standard_normal
from jaxharm.ops.dynamic_filter.api import Padding

# Without a cap, an image of more tokens is refused: one matrix of scores of 8 heads has 512 MiB.
MOST_TOKENS = 4096


@dataclass(frozen=True)
class GKNetConfig:
    """Options; see docs/papers/gknet.md, "Config fields".

    Level l has 1/2^l of the image's side; level `depth_levels - 1` is the bottleneck.

    Attributes:
        base: channels of level 0; each level doubles them.
        depth_levels: levels of the encoder.
        norm: of the convolutions; "instance" and "group" (16 groups, or fewer where the width
            needs it) are affine.
        norm_from: first encoder level with a norm; every decoder level has one.
        bn_sync: whether batch statistics are those of the global batch (under one global `jit`
            they always are); if not, the running ones are averaged over the devices.
        lre_dim: width of the LRE.
        lre_depth: its layers; with 0 only the input projection is left.
        lre_heads: attention heads of a layer.
        lre_ffn: hidden width of a layer's feed-forward net.
        lre_norm_first: whether layers normalize their input (and one norm follows the last one)
            instead of their sums.
        lre_act: activation of the layers.
        lre_dropout: probability; after attention, activation and feed-forward net, not on the
            attention's weights.
        lre_pos: sines of row and column added to queries and keys of every layer, or once to the
            tokens; a learned table (of `trained_size`, resized to other grids) added once; none.
        lre_attn_mask: whether foreground tokens see the background and themselves only, or every
            token the background only.
        fg_token_threshold: a token with a larger share of foreground is foreground.
        lre_flash: cuDNN's fused attention, for NVIDIA GPUs at bfloat16 (ours; not measured).
        lre_token_cap: the LRE sees the bottleneck reduced to at most this many tokens, and its
            result is enlarged again; None: every position is a token, and images of more than 4096
            are refused. (Ours; nothing changes for images within the cap.)
        kpb_chain: whether a block continues from the block below; if not, from the LRE.
        kpb_convs: 3x3 convolutions of a block.
        kpb_local: the local feature: the encoder's, or the decoder's before modulation.
        scf_mode: how global and local features are joined: weights per channel, sum, or 1x1
            convolution of both.
        scf_descriptor: what the weights are made from: means, or also the correlation of both.
        scf_reduction: the weights' hidden width is the channels divided by this.
        scf_min_dim: the least such hidden width.
        kernel_size: odd side of the kernels.
        kernel_groups: groups of channels that share a kernel, or one per channel.
        kernel_param: predictions are changes of the identity, kernels, or logits over the taps.
        modulate_levels: decoder levels that are modulated; None: all but the finest.
        mod_padding: what the modulation sees beyond the border; see `ops.dynamic_filter`.
        mod_dilation: distance of the kernels' taps in pixels.
        mod_fg_gate: whether only the foreground is modulated.
        mod_residual: whether modulation adds to the feature instead of replacing it.
        decoder_input: the decoder starts from the encoder's bottleneck, the LRE, or their sum.
        skip: whether the decoder sees the encoder's features.
        upsample_align_corners: of every doubling.
        head: a gate between the composite and colors, colors, or changes of the composite.
        input_norm: color space of the network.
        identity_start: the color head starts from zero, so that with the head "residual" an
            untrained network returns the composite (ours, for short runs on little data).
        init: start of all weights but the kernel heads': He and Xavier, or normal with deviation
            0.02 (as D-HT).
        blend_train: whether the training output is blended with the composite's background.
        binarize_mask: the mask counts as 1 from 0.5 on, else as 0.
        trained_size: side of the training images.
    """

    base: Count = 32
    depth_levels: Annotated[int, Range(at_least=2)] = 5
    norm: Literal["batch", "instance", "group", "none"] = "batch"
    norm_from: Natural = 2
    bn_sync: bool = True
    lre_dim: Count = 256
    lre_depth: Natural = 6
    lre_heads: Count = 8
    lre_ffn: Count = 512
    lre_norm_first: bool = False
    lre_act: Literal["gelu", "relu"] = "gelu"
    lre_dropout: Decay = 0.0
    lre_pos: Literal["sincos_qk", "sincos_input", "learned_input", "none"] = "sincos_qk"
    lre_attn_mask: Literal["none", "fg_to_bg", "all_to_bg"] = "none"
    fg_token_threshold: Probability = 0.5
    lre_flash: bool = False
    lre_token_cap: Count | None = 1024
    kpb_chain: bool = True
    kpb_convs: Natural = 2
    kpb_local: Literal["encoder", "decoder"] = "encoder"
    scf_mode: Literal["sk", "sum", "concat"] = "sk"
    scf_descriptor: Literal["gap", "gap_corr"] = "gap"
    scf_reduction: Count = 4
    scf_min_dim: Count = 32
    kernel_size: Count = 3
    kernel_groups: Literal["channel"] | Count = "channel"
    kernel_param: Literal["delta", "raw", "softmax"] = "delta"
    modulate_levels: tuple[Natural, ...] | None = None
    mod_padding: Padding = "zero"
    mod_dilation: Count = 1
    mod_fg_gate: bool = False
    mod_residual: bool = False
    decoder_input: Literal["encoder", "lre", "sum"] = "encoder"
    skip: Literal["concat", "none"] = "concat"
    upsample_align_corners: bool = False
    head: Literal["fusion", "direct", "residual"] = "fusion"
    input_norm: Literal["imagenet", "none"] = "imagenet"
    identity_start: bool = False
    init: Literal["he_xavier", "normal"] = "he_xavier"
    blend_train: bool = True
    binarize_mask: bool = True
    trained_size: Count = 256

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_numbers()
        levels = self.modulate_levels
        if levels is None:
            levels = tuple(range(self.depth_levels - 2, 0, -1))
        deepest = self.depth_levels - 2
        if len(set(levels)) < len(levels) or not set(levels) <= set(range(deepest + 1)):
            raise InputError(
                f"GKNetConfig.modulate_levels={levels}: choose from the decoder's levels, {deepest} "
                "(the deepest) to 0 (full size), each once"
            )
        # Resolved once, so that readers see the levels and not None. The dataclass is frozen.
        object.__setattr__(self, "modulate_levels", tuple(sorted(levels, reverse=True)))
        for level in self.levels:
            self._check_groups(level)

    def _check_numbers(self) -> None:
        # Sine and cosine of two coordinates take four equal parts, the heads equal parts as well.
        if self.lre_dim % 4 or self.lre_dim % self.lre_heads:
            raise InputError(
                f"GKNetConfig.lre_dim={self.lre_dim} must be a multiple of 4 and of lre_heads="
                f"{self.lre_heads}"
            )
        if self.kernel_size % 2 == 0:
            raise InputError(
                f"GKNetConfig.kernel_size={self.kernel_size} must be odd: a kernel has a center"
            )

    def _check_groups(self, level: int) -> None:
        groups = self.kernel_groups
        width = self.channels[level]
        if groups == "channel":
            return
        if width % groups:
            raise InputError(
                f"GKNetConfig.kernel_groups={groups!r} does not divide {width}, the channels of "
                f"modulated level {level}: take a divisor of every modulated width, or 'channel'"
            )

    @classmethod
    def tiny(cls) -> "GKNetConfig":
        """Every default code path at a small width, with one level less."""
        return cls(depth_levels=4, norm_from=1).shrunk()

    def shrunk(self) -> "GKNetConfig":
        """The same choices with few channels, short layers and a third of the LRE's layers."""
        groups = self.kernel_groups
        return replace(
            self,
            base=4,
            lre_dim=16,
            lre_depth=math.ceil(self.lre_depth / 3),
            lre_heads=min(self.lre_heads, 2),
            lre_ffn=32,
            scf_min_dim=8,
            # A divisor of the widths, which are an eighth of the full ones.
            kernel_groups=groups if groups == "channel" else math.ceil(groups / 8),
            trained_size=64,
        )

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the levels, finest first."""
        return tuple(self.base << level for level in range(self.depth_levels))

    @property
    def levels(self) -> tuple[int, ...]:
        """Modulated levels, deepest first."""
        assert self.modulate_levels is not None
        return self.modulate_levels

    def weights(self, usual: Initializer) -> Initializer:
        """The initializer of a layer whose default one is `usual`."""
        return usual if self.init == "he_xavier" else standard_normal(0.02)

    def groups(self, level: int) -> int:
        """Kernels per position of that level."""
        return self.channels[level] if self.kernel_groups == "channel" else int(self.kernel_groups)

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this."""
        return 1 << (self.depth_levels - 1)

    @property
    def min_size(self) -> int:
        """The smallest side: one token."""
        return self.size_multiple

    @property
    def default_size(self) -> int:
        """The side the network is meant for."""
        return self.trained_size

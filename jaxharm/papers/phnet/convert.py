"""The official checkpoint layout of PHNet. Source: docs/papers/phnet.md, "Checkpoints"."""

import numpy as np

from jaxharm.interfaces import NameMap, Rule
from jaxharm.papers.phnet.model import BATCH_NORM_STEPS, STEPS, PHNetConfig
from jaxharm.weights.name_map import conv, linear

_VECTORS = tuple(
    f"{region}_{part}" for region in ("fg", "patched_fg", "bg") for part in ("var", "bias")
)


def torch_names(config: PHNetConfig) -> NameMap:
    """The name map of the official network for `config`."""
    rules: list[Rule] = []
    if config.pfe:
        rules += [
            Rule("feature_extractor.patch_harmonizer.grid_weights", ("params", "pfe", "weights")),
            Rule("feature_extractor.head.0.weight", ("params", "pfe", "head", "kernel"), conv),
            Rule("feature_extractor.head.0.bias", ("params", "pfe", "head", "bias")),
        ]
    for layer, name in ((0, "squeeze"), (2, "excite")) if config.se else ():
        theirs, ours = f"SE_block.fc.{layer}", ("params", "se", name)
        rules.append(Rule(f"{theirs}.weight", (*ours, "kernel"), linear))
        rules.append(Rule(f"{theirs}.bias", (*ours, "bias")))
    for i in range(STEPS):
        ours = ("params", f"encoder{i + 1}", "conv")
        rules.append(Rule(f"encoder.{i}.0.weight", (*ours, "kernel"), conv))
        rules.append(Rule(f"encoder.{i}.0.bias", (*ours, "bias")))
        rules += _decoder_step(i)
    for block, step in enumerate(config.pn_grids):
        rules += _patch_norm(block, step)
    # The last PN block and the seventh fusion convolution exist in the release and never run.
    unused = len(config.grid_counts) - 1
    dropped = [
        f"skip.{STEPS}.rconv.weight",
        *(f"normalizers.{unused}.{name}" for name in ("weights", *_VECTORS, "grid_weights")),
        *(f"decoder.{i}.1.num_batches_tracked" for i in range(BATCH_NORM_STEPS)),
    ]
    return NameMap(rules, dropped)


def _decoder_step(step: int) -> list[Rule]:
    theirs, ours = f"decoder.{step}", f"decoder{step}"
    rules = [
        Rule(f"skip.{step}.rconv.weight", ("params", ours, "fuse", "kernel"), conv),
        Rule(f"{theirs}.0.weight", ("params", ours, "up", "kernel"), _transposed_conv),
        Rule(f"{theirs}.0.bias", ("params", ours, "up", "bias")),
    ]
    if step < BATCH_NORM_STEPS:
        rules += [
            Rule(f"{theirs}.1.weight", ("params", ours, "bn", "scale")),
            Rule(f"{theirs}.1.bias", ("params", ours, "bn", "bias")),
            Rule(f"{theirs}.1.running_mean", ("batch_stats", ours, "bn", "mean")),
            Rule(f"{theirs}.1.running_var", ("batch_stats", ours, "bn", "var")),
        ]
    return rules


def _patch_norm(block: int, step: int) -> list[Rule]:
    theirs, ours = f"normalizers.{block}", ("params", f"decoder{step}", "norm")
    return [
        Rule(f"{theirs}.weights", (*ours, "weights")),
        *(Rule(f"{theirs}.{name}", (*ours, name), np.ravel) for name in _VECTORS),
        Rule(f"{theirs}.grid_weights", (*ours, "grid_weights"), _grid),
    ]


def _transposed_conv(value: np.ndarray) -> np.ndarray:
    """A transposed convolution [in,out,h,w] as [h,w,in,out], turned by 180 degrees."""
    # See `ops.conv.conv_transpose2d`: as a convolution of the input it meets the taps in reverse.
    return value[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)


def _grid(value: np.ndarray) -> np.ndarray:
    """(1,C,g,g) -> (g,g,C)."""
    return value[0].transpose(1, 2, 0)

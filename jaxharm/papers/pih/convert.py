"""Names of the official PIH checkpoint's tensors, and where they go here.

Source: docs/papers/pih.md, "Checkpoints".
"""

from functools import partial

import numpy as np

from jaxharm.interfaces import NameMap, Rule
from jaxharm.papers.pih.discriminator import DECODER as LAYERS_UP
from jaxharm.papers.pih.mobilenet import BLOCKS
from jaxharm.papers.pih.model import PIHConfig
from jaxharm.papers.pih.resnet import RESNET50
from jaxharm.papers.pih.shading import DECODER, ENCODER
from jaxharm.weights.name_map import conv, linear

_Path = tuple[str, ...]
# Shading-net layers that the official code creates and the released configurations never run.
_UNUSED_NORMED = ("conv4", "conv5", "conv6")
_UNUSED_TENSORS = ("conv7.0.weight", "conv8.0.weight", "conv9.weight", "conv9.bias")


def torch_names(config: PIHConfig) -> NameMap:
    """The name map of the official generator for `config`."""
    rules = _mobilenet(config.curve_blocks) if config.light else _resnet(config.curve_blocks)
    shading = _shading()
    dropped = [
        *(f"gainnet.{name}" for name in _UNUSED_TENSORS),
        *(
            rule.torch_name
            for name in _UNUSED_NORMED
            for rule in _conv_norm(f"gainnet.{name}.0", f"gainnet.{name}.1", (), ())
        ),
        *(_counter(f"gainnet.{name}.1") for name in _UNUSED_NORMED),
    ]
    # PyTorch counts the batches of every batch norm; nothing here reads the count.
    dropped += [
        _counter(rule.torch_name.removesuffix(".running_mean"))
        for rule in (*rules, *shading)
        if rule.torch_name.endswith(".running_mean")
    ]
    if config.masking:
        rules += shading
    else:
        dropped += [rule.torch_name for rule in shading]
    return NameMap(rules, dropped)


def discriminator_names() -> NameMap:
    """The name map of the official discriminator: `state_dict_D` of a checkpoint."""
    rules = []
    for name in ("conv0", "conv9"):
        rules.append(Rule(f"{name}.weight", ("params", name, "kernel"), conv))
        rules.append(Rule(f"{name}.bias", ("params", name, "bias")))
    sides = dict.fromkeys(ENCODER, 4) | dict.fromkeys(
        (*(layer for layer, _, _ in LAYERS_UP), "conv7", "conv8"), 3
    )
    for name, side in sides.items():
        rules += [
            Rule(f"{name}.weight_orig", ("params", name, "kernel"), conv),
            Rule(f"{name}.weight_u", ("spectral", name, "u")),
            Rule(f"{name}.weight_v", ("spectral", name, "v"), partial(_right_vector, side=side)),
        ]
    return NameMap(rules, [])


def _right_vector(value: np.ndarray, side: int) -> np.ndarray:
    """(C*k*k,) -> (k,k,C)."""
    return value.reshape(-1, side, side).transpose(1, 2, 0)


def _resnet(blocks: tuple[int, ...] | None) -> list[Rule]:
    net: _Path = ("curve_net",)
    rules = _conv_norm("PL.conv1", "PL.bn1", (*net, "stem"), (*net, "stem_bn"))
    for stage, count in enumerate(blocks or RESNET50, 1):
        for block in range(count):
            theirs = f"PL.layer{stage}.{block}"
            ours = (*net, f"layer{stage}_{block}")
            for i in (1, 2, 3):
                rules += _conv_norm(
                    f"{theirs}.conv{i}", f"{theirs}.bn{i}", (*ours, f"conv{i}"), (*ours, f"bn{i}")
                )
            # Only the first block of a stage changes the width, and so needs a shortcut with weights.
            if block == 0:
                shortcut = f"{theirs}.downsample"
                rules += _conv_norm(
                    f"{shortcut}.0", f"{shortcut}.1", (*ours, "proj"), (*ours, "proj_bn")
                )
    return rules + _linear("PL.fc", (*net, "head"))


def _mobilenet(blocks: tuple[int, ...] | None) -> list[Rule]:
    root, net = "PL.EffNet", ("curve_net",)
    rules = _conv_norm(
        f"{root}.features.0.0", f"{root}.features.0.1", (*net, "stem"), (*net, "stem_bn")
    )
    for index in range(len(BLOCKS)) if blocks is None else blocks:
        theirs, ours = f"{root}.features.{index + 1}.conv", (*net, f"block{index}")
        # Official positions of (expansion, depthwise, squeeze-and-excite, projection).
        expand, depthwise, squeeze, project = (None, 0, 3, 4) if index == 0 else (0, 3, 5, 7)
        parts = (("expand", expand), ("depthwise", depthwise), ("project", project))
        for name, place in parts:
            if place is not None:
                rules += _conv_norm(
                    f"{theirs}.{place}",
                    f"{theirs}.{place + 1}",
                    (*ours, name),
                    (*ours, f"{name}_bn"),
                )
        if BLOCKS[index].squeeze:
            for name, place in (("squeeze", 0), ("excite", 2)):
                rules += _linear(f"{theirs}.{squeeze}.fc.{place}", (*ours, "se", name))
    rules += _conv_norm(f"{root}.conv.0", f"{root}.conv.1", (*net, "tail"), (*net, "tail_bn"))
    for name, place in (("fc1", 0), ("fc2", 3)):
        rules += _linear(f"{root}.classifier.{place}", (*net, name))
    return rules


def _shading() -> list[Rule]:
    net: _Path = ("shading_net",)
    rules = []
    for theirs, layer in (("conv0", "conv0"), ("conv_only", "out")):
        rules += [
            Rule(f"gainnet.{theirs}.weight", ("params", *net, layer, "kernel"), conv),
            Rule(f"gainnet.{theirs}.bias", ("params", *net, layer, "bias")),
        ]
    for name in (*ENCODER, *(layer for layer, _ in DECODER)):
        theirs, ours = f"gainnet.{name}", (*net, name)
        rules += _conv_norm(f"{theirs}.0", f"{theirs}.1", (*ours, "conv"), (*ours, "bn"))
    return rules


def _conv_norm(conv_name: str, norm_name: str, conv_path: _Path, norm_path: _Path) -> list[Rule]:
    """A convolution without bias and its batch norm."""
    return [
        Rule(f"{conv_name}.weight", ("params", *conv_path, "kernel"), conv),
        Rule(f"{norm_name}.weight", ("params", *norm_path, "scale")),
        Rule(f"{norm_name}.bias", ("params", *norm_path, "bias")),
        Rule(f"{norm_name}.running_mean", ("batch_stats", *norm_path, "mean")),
        Rule(f"{norm_name}.running_var", ("batch_stats", *norm_path, "var")),
    ]


def _linear(name: str, path: _Path) -> list[Rule]:
    return [
        Rule(f"{name}.weight", ("params", *path, "kernel"), linear),
        Rule(f"{name}.bias", ("params", *path, "bias")),
    ]


def _counter(norm_name: str) -> str:
    return f"{norm_name}.num_batches_tracked"

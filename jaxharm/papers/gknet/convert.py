"""GKNet's parameter names in PyTorch's layout.

There is no official checkpoint: the names are those of docs/papers/gknet.md, "Checkpoints".
"""

import numpy as np

from jaxharm.interfaces import NameMap, Rule, Transform
from jaxharm.papers.gknet.config import GKNetConfig
from jaxharm.weights.name_map import conv, linear

_Path = tuple[str, ...]


def torch_names(config: GKNetConfig) -> NameMap:
    """The name map for `config`.

    Some parts exist with options other than the default only: `lre_pos` (the learned table),
    `lre_norm`, `kpb.<l>.scf.cat`, `decoder_input`.
    """
    rules: list[Rule] = []
    for level in range(config.depth_levels):
        normalized = config.norm != "none" and level >= config.norm_from
        rules += _double_conv(f"enc.{level}", f"enc{level}", normalized, config.norm == "batch")
    rules += _extractor(config)
    for level in config.levels:
        rules += _kernel_prediction(config, f"kpb.{level}", f"kpb{level}")
    if config.decoder_input != "encoder":
        rules += _layer("decoder_input", ("decoder_input",))
    for level in range(config.depth_levels - 1):
        rules += _layer(f"up.{level}.conv", (f"up{level}",))
        batch = config.norm == "batch"
        rules += _double_conv(f"dec.{level}", f"dec{level}", config.norm != "none", batch)
    if config.head == "fusion":
        rules += _layer("blend", ("blend",))
    rules += _layer("rgb", ("rgb",))
    # PyTorch counts batches in a buffer that nothing here reads.
    dropped = [
        rule.torch_name.replace("running_mean", "num_batches_tracked")
        for rule in rules
        if rule.torch_name.endswith(".running_mean")
    ]
    return NameMap(rules, dropped)


def _extractor(config: GKNetConfig) -> list[Rule]:
    rules = _layer("lre_in", ("lre", "project"), _pointwise)
    if config.lre_depth and config.lre_pos == "learned_input":
        rules.append(Rule("lre_pos", ("params", "lre", "positions")))
    for i in range(config.lre_depth):
        theirs, ours = f"lre.{i}", ("lre", f"layer{i}")
        attn = ("params", *ours, "attn")
        rules += [
            Rule(f"{theirs}.attn.in_proj_weight", (*attn, "in_kernel"), linear),
            Rule(f"{theirs}.attn.in_proj_bias", (*attn, "in_bias")),
        ]
        rules += _layer(f"{theirs}.attn.out_proj", (*ours, "attn", "out"), linear)
        for name in ("linear1", "linear2"):
            rules += _layer(f"{theirs}.{name}", (*ours, name), linear)
        for name in ("norm1", "norm2"):
            rules += _norm(f"{theirs}.{name}", (*ours, name))
    if config.lre_depth and config.lre_norm_first:
        rules += _norm("lre_norm", ("lre", "norm"))
    return rules


def _kernel_prediction(config: GKNetConfig, theirs: str, ours: str) -> list[Rule]:
    rules = []
    fusion = ("proj_g", "proj_l", *(("cat",) if config.scf_mode == "concat" else ()))
    for name in fusion:
        rules += _layer(f"{theirs}.scf.{name}", (ours, "scf", name))
    if config.scf_mode == "sk":
        for name in ("fc", "fc_g", "fc_l"):
            rules += _layer(f"{theirs}.scf.{name}", (ours, "scf", name), linear)
    for i in range(config.kpb_convs):
        rules += _layer(f"{theirs}.conv{i}.conv", (ours, f"conv{i}"))
    return rules + _layer(f"{theirs}.head", (ours, "head"))


def _double_conv(theirs: str, ours: str, normalized: bool, running: bool) -> list[Rule]:
    rules = []
    for i in (0, 1):
        rules += _layer(f"{theirs}.block{i}.conv", (ours, f"conv{i}"))
        if normalized:
            rules += _norm(f"{theirs}.block{i}.norm", (ours, f"norm{i}"))
        if normalized and running:
            for name in ("mean", "var"):
                path = ("batch_stats", ours, f"norm{i}", name)
                rules.append(Rule(f"{theirs}.block{i}.norm.running_{name}", path))
    return rules


def _layer(theirs: str, ours: _Path, transform: Transform = conv) -> list[Rule]:
    return [
        Rule(f"{theirs}.weight", ("params", *ours, "kernel"), transform),
        Rule(f"{theirs}.bias", ("params", *ours, "bias")),
    ]


def _norm(theirs: str, ours: _Path) -> list[Rule]:
    return [
        Rule(f"{theirs}.weight", ("params", *ours, "scale")),
        Rule(f"{theirs}.bias", ("params", *ours, "bias")),
    ]


def _pointwise(value: np.ndarray) -> np.ndarray:
    """A 1x1 convolution (out,in,1,1) as a dense layer (in,out)."""
    return value[:, :, 0, 0].T

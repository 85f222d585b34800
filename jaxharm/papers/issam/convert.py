"""The official checkpoint layout of iSSAM. Source: docs/papers/issam.md, "Checkpoints"."""

from jaxharm.interfaces import NameMap, Rule
from jaxharm.papers.issam.unet import UNetConfig
from jaxharm.weights.name_map import conv, linear

_Path = tuple[str, ...]


def torch_names(config: UNetConfig) -> NameMap:
    """The name map of the official network for `config`."""
    rules = backbone_rules(config)
    # PyTorch counts batches in a buffer that nothing here reads.
    dropped = [
        rule.torch_name.replace("running_mean", "num_batches_tracked")
        for rule in rules
        if rule.torch_name.endswith(".running_mean")
    ]
    return NameMap(rules, dropped)


def backbone_rules(config: UNetConfig) -> list[Rule]:
    """The rules of encoder, decoder and head."""
    rules = []
    for i in range(config.depth):
        # The release has the first two blocks as attributes and the others in a list.
        theirs = f"encoder.block{i}" if i < 2 else f"encoder.blocks_connected.block{i}"
        rules += _double_conv(f"{theirs}.convs", (f"encoder{i}",), i >= config.batch_norm_from)
    for d in range(config.depth - 1):
        theirs = f"decoder.up_blocks.{d}"
        rules += _conv(f"{theirs}.upconv.1.block.0", (f"up{d}",))
        rules += _double_conv(f"{theirs}.convs", (f"decoder{d}", "convs"), True)
        if config.ssam and d >= config.attend_from:
            rules += _attention(f"{theirs}.attention", (f"decoder{d}", "attention"))
    if config.image_fusion:
        rules += _conv("decoder.conv_attention", ("head", "gate"))
    return rules + _conv("decoder.to_rgb", ("head", "to_rgb"))


def _double_conv(theirs: str, ours: _Path, batch_norm: bool) -> list[Rule]:
    rules = []
    for i in (0, 1):
        rules += _conv(f"{theirs}.block.{i}.block.0", (*ours, f"conv{i}"))
        if batch_norm:
            rules += _norm(f"{theirs}.block.{i}.block.1", (*ours, f"bn{i}"))
    return rules


def _attention(theirs: str, ours: _Path) -> list[Rule]:
    rules = [Rule(f"{theirs}.mask_blurring.weight", ("buffers", *ours, "blur"), conv)]
    for gate in ("background", "foreground", "mix"):
        for i in (0, 1):
            name = f"{theirs}.{gate}_gate.attention_transform.{2 * i}"
            path = ("params", *ours, f"{gate}_gate{i}")
            rules.append(Rule(f"{name}.weight", (*path, "kernel"), linear))
            rules.append(Rule(f"{name}.bias", (*path, "bias")))
    for i in (0, 1):
        name = f"{theirs}.learning_block.{i}.block"
        rules.append(Rule(f"{name}.0.weight", ("params", *ours, f"conv{i}", "kernel"), conv))
        rules += _norm(f"{name}.1", (*ours, f"bn{i}"))
    return rules


def _conv(theirs: str, ours: _Path) -> list[Rule]:
    return [
        Rule(f"{theirs}.weight", ("params", *ours, "kernel"), conv),
        Rule(f"{theirs}.bias", ("params", *ours, "bias")),
    ]


def _norm(theirs: str, ours: _Path) -> list[Rule]:
    return [
        Rule(f"{theirs}.weight", ("params", *ours, "scale")),
        Rule(f"{theirs}.bias", ("params", *ours, "bias")),
        Rule(f"{theirs}.running_mean", ("batch_stats", *ours, "mean")),
        Rule(f"{theirs}.running_var", ("batch_stats", *ours, "var")),
    ]

"""GiftNet's parameter names in PyTorch's layout.

There is no official checkpoint: the names are those of docs/papers/giftnet.md, "Checkpoints".
"""

from jaxharm.interfaces import NameMap, Rule
from jaxharm.papers.giftnet.model import GiftNetConfig
from jaxharm.papers.issam.convert import torch_names as backbone_names
from jaxharm.weights.name_map import conv, linear

_Path = tuple[str, ...]


def torch_names(config: GiftNetConfig) -> NameMap:
    """The name map for `config`.

    Modules of the ablations follow the same pattern: `gift_concat.<d>`, `gift_up.<d>`,
    `gift_encoder.<i>`, `gift_bottleneck`; first layers of local codes are `<module>.fc0`.
    """
    backbone = backbone_names(config)
    modules: list[tuple[str, str, str]] = []  # site, their name, ours
    for site in map(str, config.sites):
        count = config.depth if site == "encoder" else config.depth - 1
        if site == "bottleneck":
            modules.append((site, "gift_bottleneck", site))
        else:
            modules += [(site, f"gift_{site}.{i}", f"{site}{i}") for i in range(count)]
    rules: list[Rule] = []
    places: dict[str, str] = {}
    for site, theirs, ours in modules:
        guided = config.guidance != "none"
        for i in range(1, config.num_convs + 1):
            rules += _modulated(f"{theirs}.conv{i}", (f"gift_{ours}", f"conv{i}"), guided)
        if guided and config.code_mlp:
            # The encoder comes before the bottleneck's code, so its modules have their own.
            shared = config.guidance == "global" and site != "encoder"
            places["global" if shared else ours] = "global_map" if shared else theirs
    for ours, theirs in places.items():
        rules += _dense(f"{theirs}.fc0", ("code_map", f"{ours}_fc0"))
    # With a code of plain averages there are no layers.
    if places:
        rules += _dense("global_map.fc1", ("code_map", "fc1"))
    return NameMap([*backbone.rules, *rules], backbone.dropped)


def _modulated(theirs: str, ours: _Path, guided: bool) -> list[Rule]:
    rules = [
        Rule(f"{theirs}.kernel", ("params", *ours, "kernel"), conv),
        Rule(f"{theirs}.bias", ("params", *ours, "bias")),
    ]
    if guided:
        rules += [
            Rule(f"{theirs}.style.weight", ("params", *ours, "style", "kernel"), linear),
            Rule(f"{theirs}.style.bias", ("params", *ours, "style", "bias")),
        ]
    return rules


def _dense(theirs: str, ours: _Path) -> list[Rule]:
    return [
        Rule(f"{theirs}.weight", ("params", *ours, "kernel"), linear),
        Rule(f"{theirs}.bias", ("params", *ours, "bias")),
    ]

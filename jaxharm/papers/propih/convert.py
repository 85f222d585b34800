"""Names of the official files' tensors, and where they go here: the generator and the encoder.

Source: docs/papers/propih.md, "Checkpoints".
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_safetensors

from jaxharm.errors import InputError
from jaxharm.interfaces import NameMap, Rule
from jaxharm.papers.propih.model import STAGES, ProPIHConfig
from jaxharm.papers.propih.vgg import COLLECTION, PIECES
from jaxharm.weights.name_map import conv
from jaxharm.weights.torch_file import read_torch_file

_Path = tuple[str, ...]
# Position of each layer in the flat VGG-19, and in the official pieces enc_1 to enc_4.
_FLAT = {
    **{"pre": 0, "conv1_1": 2, "conv1_2": 5, "conv2_1": 9, "conv2_2": 12, "conv3_1": 16},
    **{"conv3_2": 19, "conv3_3": 22, "conv3_4": 25, "conv4_1": 29},
}
_IN_PIECE = {
    **{"pre": 0, "conv1_1": 2, "conv1_2": 1, "conv2_1": 5, "conv2_2": 1, "conv3_1": 5},
    **{"conv3_2": 1, "conv3_3": 4, "conv3_4": 7, "conv4_1": 11},
}
_UNUSED = (32, 35, 38, 42, 45, 48, 51)  # conv4_2 to conv5_4
_FUSE = ("fuse_block1.1", "fuse_block1.4", "fuse_block2.1", "fuse_block2.4")


def torch_names(config: ProPIHConfig) -> NameMap:
    """The name map of `latest_net_G.pth` for `config`; it carries the encoder too."""
    if config.exit_head:
        raise InputError("official ProPIH checkpoints have no exit head: leave exit_head=False")
    # The official file of the generator carries the frozen encoder in its four pieces.
    rules = []
    for number, name in _encoder_layers():
        theirs = f"enc_{number}.{_IN_PIECE[name]}"
        rules += _conv(theirs, (COLLECTION, f"enc{number}", name))
    for k in range(1, STAGES + 1):
        rules += _conv(f"updec_{k}.conv1.1", ("params", f"up{k}", "conv0"))
        for i in range(1, k):
            rules += _conv(f"updec_{k}.upconvs.{i - 1}.2", ("params", f"up{k}", f"conv{i}"))
        rules += _conv(f"final_conv_{k}", ("params", f"head{k}"))
        for i, theirs in enumerate(_FUSE if k > 1 else ()):
            rules += _conv(f"fuseblk_{k}.{theirs}", ("params", f"fuse{k}", f"conv{i}"))
    return NameMap(rules)


def discriminator_names(halvings: int = 6) -> NameMap:
    """The name map of `latest_net_D.pth`; its running statistics are never used.

    Args:
        halvings: of the discriminator (`ProPIHDiscriminatorConfig`), an even number.
    """
    layers = []
    for i in range(halvings + 2):
        place = "blocks_connected." if i >= halvings else "blocks_enc." if i > 1 else ""
        theirs = f"encoder.{place}block{i}.block"
        layers.append((f"{theirs}.0", f"{theirs}.1", f"block{i}"))
    layers.append(("decoder.deconv_block0.1", "decoder.deconv_block0.2", "dec0"))
    layers.append(("decoder.deconv_block1.0", "decoder.deconv_block1.1", "dec1"))
    rules, dropped = _conv("decoder.to_binary", ("params", "out")), []
    for layer, norm, ours in layers:
        rules += _conv(layer, ("params", ours, "conv"))
        rules.append(Rule(f"{norm}.weight", ("params", ours, "bn", "scale")))
        rules.append(Rule(f"{norm}.bias", ("params", ours, "bn", "bias")))
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        dropped += [f"{norm}.{name}" for name in buffers]
    return NameMap(rules, dropped)


def flat_names() -> dict[str, int]:
    """Layer -> its position in the flat VGG-19 of `vgg_normalised.pth`."""
    return dict(_FLAT)


def encoder_from_torch(
    state_dict: Mapping[str, np.ndarray], width: int = 64, *, source: str = "the state dict"
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Converts `vgg_normalised.pth` to the collection `encoder`.

    Args:
        state_dict: "<index>.weight" and "<index>.bias" of the flat sequential VGG-19; layers after
            conv4_1 may be absent and are not read.
        width: channels of conv1_1.
        source: named in messages.

    Returns:
        {"enc1": {"pre": {"kernel", "bias"}, ...}, ...} of float32 arrays.

    Raises:
        InputError: missing or unknown names, or shapes of another network.
    """
    known = {f"{i}.{part}" for i in (*_FLAT.values(), *_UNUSED) for part in ("weight", "bias")}
    wanted = {f"{i}.{part}" for i in _FLAT.values() for part in ("weight", "bias")}
    missing, unknown = sorted(wanted - set(state_dict)), sorted(set(state_dict) - known)
    if missing or unknown:
        raise InputError(
            f"{source} is no normalized VGG-19: {len(missing)} layers missing "
            f"({', '.join(missing[:4]) or '-'}), {len(unknown)} unknown "
            f"({', '.join(unknown[:4]) or '-'}); make one with: jaxharm convert vgg19"
        )
    encoder: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    channels = 3
    for number, name in _encoder_layers():
        weight = np.asarray(state_dict[f"{_FLAT[name]}.weight"], np.float32)
        bias = np.asarray(state_dict[f"{_FLAT[name]}.bias"], np.float32)
        side, features = (1, 3) if name == "pre" else (3, width * dict(PIECES[number - 1])[name])
        if weight.shape != (features, channels, side, side) or bias.shape != (features,):
            raise InputError(
                f"{source} is no normalized VGG-19: {_FLAT[name]}.weight ({name}) is "
                f"{list(weight.shape)}, not {[features, channels, side, side]}"
            )
        layer = {"kernel": conv(weight), "bias": bias}
        encoder.setdefault(f"enc{number}", {})[name] = layer
        channels = features
    return encoder


def load_encoder(path: str | Path, width: int = 64) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Reads a normalized VGG-19 from a .pth or .safetensors file; see `encoder_from_torch`.

    Raises:
        InputError: the file is absent or damaged, or holds other layers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"encoder file {path} does not exist: put vgg_normalised.pth of the official release "
            "there, or make one with jaxharm convert vgg19 (or vgg16)"
        )
    if path.suffix == ".safetensors":
        try:
            state = load_safetensors(path)
        except SafetensorError as error:
            raise InputError(f"{path} is damaged or no safetensors file: {error}") from None
    else:
        state = read_torch_file(path)
    return encoder_from_torch(state, width, source=str(path))


def _encoder_layers() -> list[tuple[int, str]]:
    """(piece, layer) in order."""
    layers = [(k, name) for k, piece in enumerate(PIECES, 1) for name, _ in piece]
    return [(1, "pre"), *layers]


def _conv(theirs: str, ours: _Path) -> list[Rule]:
    return [
        Rule(f"{theirs}.weight", (*ours, "kernel"), conv),
        Rule(f"{theirs}.bias", (*ours, "bias")),
    ]

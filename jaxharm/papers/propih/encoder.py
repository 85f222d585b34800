"""Makes the normalized encoder from the weights of any ImageNet VGG-19 or VGG-16.

Its preprocessing becomes a 1x1 convolution, and every filter is divided by its mean activation over
a set of images, which the next layer's filters take back. ReLU and max pooling let a positive factor
through, so that only the scale of the features changes: every channel then has the mean 1, which
the weights of ProPIH's losses assume. Of the layers up to conv4_1, VGG-16 lacks conv3_4 alone. That
becomes the identity: its input, which a ReLU gave, passes unchanged, and relu4_1 is VGG-16's own.
Ours: docs/papers/propih.md, "What we decided".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxharm.errors import InputError
from jaxharm.interfaces import Array, Params
from jaxharm.papers.propih.convert import flat_names
from jaxharm.papers.propih.vgg import COLLECTION, PIECES, FrozenConv, VggPiece

# What the network was trained on, as pre(x) of an RGB image x in [0,1]: weight [out,in], bias [out].
_STD, _MEAN = np.array([0.229, 0.224, 0.225]), np.array([0.485, 0.456, 0.406])
PREPROCESSING = {
    "torchvision": (np.diag(1 / _STD), -_MEAN / _STD),
    "caffe": (255 * np.eye(3)[::-1], -np.array([103.939, 116.779, 123.68])),
}
_SILENT = 1e-8  # a channel with less than this mean activation keeps its scale
_BATCH_NORM_EPS = 1e-5
LAYERS = tuple(name for piece in PIECES for name, _ in piece)
Network = Literal["vgg19", "vgg16"]
ABSENT: Mapping[Network, tuple[str, ...]] = {"vgg19": (), "vgg16": ("conv3_4",)}
Layers = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> weight OIHW, bias


def normalized_encoder(
    state_dict: Mapping[str, np.ndarray],
    images: Iterable[np.ndarray],
    *,
    network: Network = "vgg19",
    preprocessing: str = "torchvision",
    source: str = "the state dict",
) -> dict[str, np.ndarray]:
    """The state dict of a normalized VGG, in the layout of `vgg_normalised.pth` up to conv4_1.

    Args:
        state_dict: of a VGG with or without batch norm (which is folded into the filters), its
            layers numbered as in torchvision or named conv1_1 ...; others than convolutions and
            batch norms, and those after conv4_1, are not read.
        images: f32[h,w,3] in [0,1], RGB, at least 16 pixels a side.
        network: which VGG it is.
        preprocessing: one of `PREPROCESSING`: what the weights were trained with.
        source: named in messages.

    Returns:
        "0.weight" [3,3,1,1], "0.bias", "2.weight" ... "29.bias", float32.

    Raises:
        InputError: another network, no image, or unknown preprocessing.
    """
    if preprocessing not in PREPROCESSING:
        raise InputError(f"preprocessing {preprocessing!r}: choose {', '.join(PREPROCESSING)}")
    weight, bias = PREPROCESSING[preprocessing]
    layers: Layers = {
        "pre": (weight[:, :, None, None], bias),
        **_layers(state_dict, network, source),
    }
    means = mean_activations(layers, images)
    before = np.ones(3)
    state: dict[str, np.ndarray] = {}
    for name, (weight, bias) in layers.items():
        # What a layer's outputs are divided by, the next layer's inputs are multiplied with.
        after = np.ones(3) if name == "pre" else means[name]
        scaled = weight * before[None, :, None, None] / after[:, None, None, None]
        state[f"{flat_names()[name]}.weight"] = scaled.astype(np.float32)
        state[f"{flat_names()[name]}.bias"] = (bias / after).astype(np.float32)
        before = after
    return state


def mean_activations(layers: Layers, images: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Layer -> f64[c], the mean of every channel after ReLU over all positions of all images.

    Channels that never respond count as 1. InputError where there is no image. Pooling needs sides
    that are multiples of 8; they are cut to multiples of 64, since every size is compiled.
    """
    width = layers["conv1_1"][0].shape[0]
    variables = {number: _variables(layers, number) for number in range(1, len(PIECES) + 1)}
    # float64 sums on the host: some hundred images have too many pixels for float32.
    sums = {name: np.zeros(len(layers[name][1])) for name in LAYERS}
    counts = dict.fromkeys(LAYERS, 0)
    for image in images:
        rows, columns = (side - side % (64 if side >= 64 else 8) for side in image.shape[:2])
        x = jnp.asarray(image[:rows, :columns], jnp.float32)[None]
        for number, encoder in variables.items():
            x, found = _run_piece(number, width, encoder, x)
            for name, (total, count) in found.items():
                sums[name] += np.asarray(total, np.float64)
                counts[name] += count
    if not counts["conv1_1"]:
        raise InputError("no image to measure the encoder's activations on")
    means = {name: total / counts[name] for name, total in sums.items()}
    return {name: np.where(mean < _SILENT, 1.0, mean) for name, mean in means.items()}


@partial(jax.jit, static_argnums=(0, 1))
def _run_piece(
    number: int, width: int, variables: Params, x: Array
) -> tuple[Array, dict[str, tuple[Array, int]]]:
    """The features of a piece, and per layer the sums of its channels and how many were summed."""

    def is_layer(module: nn.Module, method: str) -> bool:
        return isinstance(module, FrozenConv) and method == "__call__"

    y, state = VggPiece(number, width).apply(variables, x, capture_intermediates=is_layer)
    found = {}
    for name, _ in PIECES[number - 1]:
        response = nn.relu(state["intermediates"][name]["__call__"][0])
        found[name] = (jnp.sum(response, (0, 1, 2)), response[..., 0].size)
    return y, found


def _variables(layers: Layers, number: int) -> Params:
    names = [name for name, _ in PIECES[number - 1]]
    return {
        COLLECTION: {
            name: {
                "kernel": np.float32(layers[name][0].transpose(2, 3, 1, 0)),
                "bias": np.float32(layers[name][1]),
            }
            for name in (["pre", *names] if number == 1 else names)
        }
    }


def _layers(state_dict: Mapping[str, np.ndarray], network: Network, source: str) -> Layers:
    """The convolutions conv1_1 to conv4_1 in order, float64, batch norms folded into them."""
    stems = sorted({name.rpartition(".")[0] for name in state_dict}, key=_natural)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for stem in stems:
        weight = state_dict.get(f"{stem}.weight")
        if weight is None:
            continue
        weight = np.asarray(weight, np.float64)
        if weight.ndim == 4:
            bias = state_dict.get(f"{stem}.bias")
            zeros = np.zeros(len(weight))
            found.append((weight, zeros if bias is None else np.asarray(bias, np.float64)))
        elif f"{stem}.running_var" in state_dict and found:
            found[-1] = _folded(*found[-1], stem, weight, state_dict)
    if found and found[0][0].shape[1:] == (3, 1, 1):
        raise InputError(
            f"{source} begins with a 1x1 convolution: it is a normalized encoder already; use it "
            "as objective.encoder"
        )
    return _named(found, network, source)


def _named(found: Sequence[tuple[np.ndarray, np.ndarray]], network: Network, source: str) -> Layers:
    """The convolutions of `found` by name, with the identity for those that `network` lacks."""
    layers: Layers = {}
    channels, used = 3, 0
    base = len(found[0][0]) if found else 64
    for name, multiple in (layer for piece in PIECES for layer in piece):
        if name in ABSENT[network]:
            center = np.pad(np.eye(channels)[:, :, None, None], ((0, 0), (0, 0), (1, 1), (1, 1)))
            layers[name] = (center, np.zeros(channels))
            continue
        wanted = (base * multiple, channels, 3, 3)
        shape = found[used][0].shape if used < len(found) else None
        used += 1
        if shape != wanted:
            there = f"is {list(shape)}" if shape else "is missing"
            title = network.upper().replace("VGG", "VGG-")
            raise InputError(
                f"{source} is no {title}: its convolution {used} ({name}) {there}, not {list(wanted)}"
            )
        layers[name] = found[used - 1]
        channels = base * multiple
    return layers


def _folded(
    weight: np.ndarray,
    bias: np.ndarray,
    stem: str,
    scale: np.ndarray,
    state_dict: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """A convolution and the batch norm after it, at inference, as one convolution."""
    shift, mean, variance = (
        np.asarray(state_dict[f"{stem}.{part}"], np.float64)
        for part in ("bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + _BATCH_NORM_EPS)
    return weight * factor[:, None, None, None], (bias - mean) * factor + shift


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts conv2_1 before conv10_1, and features.9 before features.10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]

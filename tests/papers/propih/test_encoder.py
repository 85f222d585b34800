"""The normalized encoder made from a VGG-19: the same function up to scale, every channel's mean 1."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxharm.__main__ import main
from jaxharm.errors import InputError
from jaxharm.images import write_image
from jaxharm.papers.propih.convert import load_encoder
from jaxharm.papers.propih.encoder import LAYERS, normalized_encoder
from jaxharm.papers.propih.vgg import PIECES, VggPiece

torch = pytest.importorskip("torch", reason="PyTorch is an optional extra")
# Torchvision's positions of conv1_1 to conv4_1, without and with batch norm.
PLAIN, NORMED = (0, 2, 5, 7, 10, 12, 14, 16, 19), (0, 3, 7, 10, 14, 17, 20, 23, 27)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((3, 40, 56, 3), np.float32)
WIDTHS = (8, 8, 16, 16, 32, 32, 32, 32, 64)  # of a narrow VGG-19


def vgg19(*, batch_norm: bool = False) -> dict[str, np.ndarray]:
    """Random weights in torchvision's layout, with some layers beyond conv4_1."""
    random, state, channels = np.random.default_rng(1), {}, 3
    for place, width in zip(NORMED if batch_norm else PLAIN, WIDTHS, strict=True):
        weight = random.normal(0, np.sqrt(2 / 9 / channels), (width, channels, 3, 3))
        state[f"features.{place}.weight"] = weight
        state[f"features.{place}.bias"] = random.normal(0, 0.1, width)
        if batch_norm:
            for part, low in (
                ("weight", 0.5),
                ("running_var", 0.5),
                ("bias", 0),
                ("running_mean", 0),
            ):
                state[f"features.{place + 1}.{part}"] = random.uniform(low, low + 1, width)
            state[f"features.{place + 1}.num_batches_tracked"] = np.array(7)
        channels = width
    state["features.40.weight"] = random.normal(size=(64, 64, 3, 3))
    state["features.40.bias"] = np.zeros(64)
    state["classifier.0.weight"] = random.normal(size=(5, 7))
    state["classifier.0.bias"] = np.zeros(5)
    return {name: np.float32(value) for name, value in state.items()}


def reference(state, image, *, batch_norm=False) -> list[np.ndarray]:
    """Activations after every ReLU, f32[c,h,w], by PyTorch, the borders mirrored."""
    F = torch.nn.functional
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((torch.from_numpy(image) - mean) / std).permute(2, 0, 1)[None]
    found = []
    pooled_before = ("conv2_1", "conv3_1", "conv4_1")
    for name, place in zip(LAYERS, NORMED if batch_norm else PLAIN, strict=True):
        if name in pooled_before:
            x = F.max_pool2d(x, 2)
        get = lambda part, i=place: torch.from_numpy(state[f"features.{i}.{part}"])  # noqa: E731
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), get("weight"), get("bias"))
        if batch_norm:
            parts = [get(p, place + 1) for p in ("running_mean", "running_var", "weight", "bias")]
            x = F.batch_norm(x, *parts)
        x = F.relu(x)
        found.append(x[0].numpy())
    return found


def pieces(encoder, image) -> list[np.ndarray]:
    """relu1_1 ... relu4_1 of our encoder, f32[h,w,c]."""
    x, found = jnp.asarray(image)[None], []
    for number in range(1, len(PIECES) + 1):
        variables = {"encoder": encoder[f"enc{number}"]}
        x = VggPiece(number, WIDTHS[0]).apply(variables, x)
        found.append(np.asarray(x[0]))
    return found


def as_encoder(state):
    from jaxharm.papers.propih.convert import encoder_from_torch

    return encoder_from_torch(state, WIDTHS[0])


@pytest.mark.parametrize("batch_norm", [False, True])
def test_only_the_scale_of_channels_changes_and_their_mean_is_1(batch_norm):
    source = vgg19(batch_norm=batch_norm)
    encoder = as_encoder(normalized_encoder(source, IMAGES))
    theirs = [reference(source, image, batch_norm=batch_norm) for image in IMAGES]
    ends = [LAYERS.index(piece[-1][0]) for piece in PIECES]
    ours = [pieces(encoder, image) for image in IMAGES]
    for piece, layer in enumerate(ends):
        values = np.stack([found[piece] for found in ours])
        expected = np.stack([found[layer].transpose(1, 2, 0) for found in theirs])
        scale = expected.mean((0, 1, 2), keepdims=True)
        alive = scale.ravel() > 1e-6
        np.testing.assert_allclose(values[..., alive].mean((0, 1, 2)), 1, rtol=1e-4)
        expected /= np.where(scale > 1e-6, scale, 1)
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=2e-3)


def test_silent_channels_and_the_caffe_preprocessing():
    source = vgg19()
    source["features.0.bias"][3] = -1e6  # never responds
    state = normalized_encoder(source, IMAGES, preprocessing="caffe")
    assert all(np.isfinite(value).all() for value in state.values())
    pre = state["0.weight"][:, :, 0, 0] @ np.ones(3, np.float32) + state["0.bias"]
    np.testing.assert_allclose(pre, 255 - np.array([103.939, 116.779, 123.68]), rtol=1e-5)
    assert state["0.weight"][0, 2, 0, 0] == 255  # blue comes first


def test_layer_names_of_other_sources():
    plain = vgg19()
    names = {f"features.{place}.": f"{name}." for place, name in zip(PLAIN, LAYERS, strict=True)}
    named = {
        ours + old.removeprefix(theirs): value
        for old, value in plain.items()
        for theirs, ours in names.items()
        if old.startswith(theirs)
    }
    expected, found = (normalized_encoder(state, IMAGES[:1]) for state in (plain, named))
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)


def test_what_is_no_vgg19_is_refused():
    source = vgg19()
    with pytest.raises(InputError, match="no image"):
        normalized_encoder(source, [])
    with pytest.raises(InputError, match="preprocessing 'bgr'"):
        normalized_encoder(source, IMAGES, preprocessing="bgr")
    with pytest.raises(InputError, match="normalized encoder already"):
        normalized_encoder(normalized_encoder(source, IMAGES[:1]), IMAGES)
    short = {k: v for k, v in source.items() if int(k.split(".")[1]) < 5}
    with pytest.raises(InputError, match=r"convolution 3 \(conv2_1\) is missing"):
        normalized_encoder(short, IMAGES)
    source["features.7.weight"] = source["features.7.weight"][:, :5]
    with pytest.raises(InputError, match=r"convolution 4 \(conv2_2\) is \[16, 5, 3, 3\]"):
        normalized_encoder(source, IMAGES)


def test_the_command_writes_an_encoder_that_training_reads(tmp_path, capsys):
    source = vgg19()
    tensors = {name: torch.from_numpy(value) for name, value in source.items()}
    for name, tensor in tensors.items():
        if tensor.ndim == 4:  # kernels whose channels lie next to each other, as on some disks
            tensors[name] = tensor.to(memory_format=torch.channels_last)
    torch.save(tensors, tmp_path / "vgg19.pth")
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(IMAGES):
        write_image(tmp_path / f"photos/{i}.png", np.rint(image * 255).astype(np.uint8))
    out = tmp_path / "out"
    call = ["convert", "vgg19", str(tmp_path / "vgg19.pth"), str(out)]
    images = ["--images", str(tmp_path / "photos")]
    assert main([*call, *images]) == 0
    printed = capsys.readouterr().out
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["images"], manifest["preprocessing"]) == (3, "torchvision")
    assert f"objective.encoder={out / 'vgg_normalised.safetensors'}" in printed
    encoder = load_encoder(out / "vgg_normalised.safetensors", WIDTHS[0])
    stored = load_file(out / "vgg_normalised.safetensors")
    np.testing.assert_array_equal(encoder["enc1"]["pre"]["bias"], stored["0.bias"])
    for name, value in normalized_encoder(source, np.rint(IMAGES * 255) / 255).items():
        np.testing.assert_allclose(stored[name], value, rtol=1e-3, atol=1e-6)

    (tmp_path / "void").mkdir()
    cases = {
        (*call,): "by --images",
        (*call, "--images", str(tmp_path / "none")): "none does not exist",
        (*call, "--images", str(tmp_path / "void")): "no image in",
        (*call, *images, "--preprocessing", "bgr"): "choose torchvision, caffe",
        (*call, *images, "--set", "width=3"): "--set is for models",
        ("convert", "vgg19", str(tmp_path / "none.pth"), str(out), *images): "does not exist",
        ("convert", "phnet_ffhqh", *call[2:], *images): "--images goes with vgg19",
    }
    for arguments, sentence in cases.items():
        assert main(list(arguments)) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert sentence in error
        assert error.count("\n") == 1

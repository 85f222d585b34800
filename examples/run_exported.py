"""Runs a network that `jaxharm export --format stablehlo|onnx` wrote; jaxharm need not be installed.

    python run_exported.py network.onnx inputs.npz outputs.npz     # needs numpy and onnxruntime
    python run_exported.py network.zip inputs.npz outputs.npz      # needs jax and flatbuffers

`inputs.npz` holds `composite` f32[b,h,w,3] and `mask` f32[b,h,w,1], and `background` where the network
reads one, in [0,1]; the manifest inside the file says so. `outputs.npz` gets its outputs by name.
"""

import json
import sys
import zipfile

import numpy as np


def run_onnx(path, inputs):
    """The outputs of an ONNX file by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    manifest = json.loads(session.get_modelmeta().custom_metadata_map["jaxharm"])
    results = session.run(None, {name: inputs[name] for name in manifest["inputs"]})
    return dict(zip(manifest["outputs"], results, strict=True))


def run_stablehlo(path, inputs):
    """The outputs of a StableHLO archive by name."""
    from jax import export

    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        program = export.deserialize(bytearray(archive.read("program.bin")))
    results = program.call(*(inputs[name] for name in manifest["inputs"]))
    return {
        name: np.asarray(value) for name, value in zip(manifest["outputs"], results, strict=True)
    }


def main(program, inputs, outputs):
    """Reads the inputs, runs the program, writes the outputs."""
    run = run_onnx if program.endswith(".onnx") else run_stablehlo
    np.savez(outputs, **run(program, dict(np.load(inputs))))


if __name__ == "__main__":
    main(*sys.argv[1:])

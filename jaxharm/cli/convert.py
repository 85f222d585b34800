"""Convert an official PyTorch checkpoint to a weights folder.

Writes OUT_DIR/weights.safetensors and OUT_DIR/manifest.json and prints the manifest. The file is
read without running any code in it (weights_only), which needs the extra `torch`. Options of the
released weights that the file does not hold (PIH: mask_offset 0.6) are filled in; --set overrides.

NAME vgg19 makes the frozen encoder that training ProPIH needs out of any ImageNet VGG-19:
  python -m jaxharm convert vgg19 vgg19.pth OUT_DIR --images PHOTOGRAPHS
It is normalized on the images of PHOTOGRAPHS (some hundred various ones) and becomes
OUT_DIR/vgg_normalised.safetensors, to be named in objective.encoder. --preprocessing caffe is for
weights that were trained on BGR pixels from 0 to 255.
"""

import argparse
import hashlib
import json
from pathlib import Path

from jaxharm import registry
from jaxharm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("name", help="registered model, as listed by `models`, or vgg19")
    parser.add_argument("checkpoint", type=Path, help="official .pth file")
    parser.add_argument("out_dir", type=Path, help="weights folder to write")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a field of the model"
    )
    encoder = parser.add_argument_group("vgg19")
    encoder.add_argument("--images", type=Path, help="folder of images to normalize on")
    encoder.add_argument("--preprocessing", metavar="torchvision|caffe", help="default torchvision")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    if arguments.name == "vgg19":
        from jaxharm.papers.propih import encoder_command as vgg19

        return vgg19.execute(arguments)
    entry = registry.get(arguments.name)
    check_file(arguments.checkpoint)
    for option in ("images", "preprocessing"):
        if getattr(arguments, option) is not None:
            raise InputError(f"--{option} goes with vgg19, not with {arguments.name}")

    import dataclasses

    from jaxharm.convert import from_torch
    from jaxharm.overrides import apply_overrides
    from jaxharm.weights.portable import save_weights
    from jaxharm.weights.torch_file import read_torch_file

    config = registry.model_config(arguments.name, **entry.official)
    config = apply_overrides(config, arguments.set)
    overrides = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    state = read_torch_file(arguments.checkpoint)
    variables = from_torch(arguments.name, state, **overrides)
    source = describe(arguments.checkpoint)
    manifest = save_weights(
        arguments.out_dir, arguments.name, config, variables, {"source": source}
    )
    print(json.dumps(manifest, indent=1))
    return 0


def check_file(path: Path) -> None:
    """InputError where there is no such file."""
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")


def describe(path: Path) -> dict[str, str]:
    """Name and hash of a file, for a manifest."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

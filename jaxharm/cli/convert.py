"""Convert an official PyTorch checkpoint to a weights folder.

Writes OUT_DIR/weights.safetensors and OUT_DIR/manifest.json and prints the manifest. The file is
read without running any code in it (weights_only), which needs the extra `torch`. Options of the
released weights that the file does not hold (PIH: mask_offset 0.6) are filled in; --set overrides.
"""

import argparse
import hashlib
import json
from pathlib import Path

from jaxharm import registry
from jaxharm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("name", help="registered model, as listed by `models`")
    parser.add_argument("checkpoint", type=Path, help="official .pth file")
    parser.add_argument("out_dir", type=Path, help="weights folder to write")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a field of the model"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    entry = registry.get(arguments.name)
    if not arguments.checkpoint.is_file():
        raise InputError(f"checkpoint {arguments.checkpoint} does not exist")

    import dataclasses

    from jaxharm.config import apply_overrides
    from jaxharm.convert import from_torch
    from jaxharm.convert.torch_file import read_torch_file
    from jaxharm.convert.weights import save_weights

    config = registry.model_config(arguments.name, **entry.official)
    config = apply_overrides(config, arguments.set)
    overrides = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    state = read_torch_file(arguments.checkpoint)
    variables = from_torch(arguments.name, state, **overrides)
    source = {
        "file": arguments.checkpoint.name,
        "sha256": hashlib.sha256(arguments.checkpoint.read_bytes()).hexdigest(),
    }
    manifest = save_weights(
        arguments.out_dir, arguments.name, config, variables, {"source": source}
    )
    print(json.dumps(manifest, indent=1))
    return 0

"""Convert an official PyTorch checkpoint to a weights folder.

Writes OUT_DIR/weights.safetensors and OUT_DIR/manifest.json and prints the manifest. The file is
read without running any code in it (weights_only), which needs the extra `torch`. Options of the
released weights that the file does not hold are filled in; --set overrides.
"""

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxharm import registry
from jaxharm.cli.command import local_path
from jaxharm.errors import InputError

if TYPE_CHECKING:
    from jaxharm.commands import HelperNetwork


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    helpers = _helpers()
    parser.add_argument(
        "name", help=", or ".join(["registered model, as listed by `models`", *helpers])
    )
    parser.add_argument("checkpoint", type=local_path, help="official .pth file")
    parser.add_argument("out_dir", type=local_path, help="weights folder to write")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a field of the model"
    )
    for name, helper in helpers.items():
        helper.add_arguments(parser.add_argument_group(name))
    parser.description = "\n\n".join(
        [__doc__ or "", *(helper.about for helper in helpers.values())]
    )


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    from jaxharm.weights.torch_file import check_file

    helpers = _helpers()
    for name, helper in helpers.items():
        given = [option for option in helper.names if getattr(arguments, option) is not None]
        if given and arguments.name != name:
            option = given[0].replace("_", "-")
            raise InputError(f"--{option} goes with {name}, not with {arguments.name}")
    if arguments.name in helpers:
        return helpers[arguments.name].execute(arguments)
    entry = registry.get(arguments.name)
    check_file(arguments.checkpoint)
    print(json.dumps(_convert(entry, arguments), indent=1))
    return 0


def _convert(entry: registry.Entry, arguments: argparse.Namespace) -> Mapping[str, object]:
    """Writes the weights folder; returns its manifest."""
    import dataclasses

    from jaxharm.convert import from_torch
    from jaxharm.overrides import apply_overrides
    from jaxharm.weights.portable import save_weights
    from jaxharm.weights.torch_file import describe_file, read_torch_file

    config = registry.model_config(entry.name, **entry.official)
    config = apply_overrides(config, arguments.set)
    overrides = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    variables = from_torch(entry.name, read_torch_file(arguments.checkpoint), **overrides)
    source = describe_file(arguments.checkpoint)
    return save_weights(arguments.out_dir, entry.name, config, variables, {"source": source})


def _helpers() -> "dict[str, HelperNetwork]":
    """The networks that the papers' rooms make beside the models."""
    return {name: load() for entry in registry.entries() for name, load in entry.helpers.items()}

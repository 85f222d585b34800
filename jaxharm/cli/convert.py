"""Convert an official PyTorch checkpoint to a weights folder.

Writes OUT_DIR/weights.safetensors and OUT_DIR/manifest.json and prints the manifest. The file is
read without running any code in it (weights_only), which needs the extra `torch`. Which model it is
of is seen by its tensors where NAME is left out; `jaxharm models` says where official files are.
Options of the released weights that the file does not hold are filled in; --set overrides.
"""

import argparse
import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxharm import registry
from jaxharm.cli.command import local_path
from jaxharm.cli.convert_lpips import LpipsCommand
from jaxharm.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from jaxharm.commands import HelperNetwork


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    helpers = _helpers()
    parser.add_argument(
        "name",
        nargs="?",
        help=", or ".join(["registered model, as listed by `models`", *helpers]),
    )
    parser.add_argument(
        "checkpoint", type=local_path, help="official .pth file, or what a helper is made of"
    )
    parser.add_argument("out_dir", type=local_path, help="weights folder to write")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a field of the model"
    )
    different = dict.fromkeys(helpers.values())  # one may make several networks
    for helper in different:
        helper.add_arguments(parser.add_argument_group(", ".join(_names_of(helper))))
    parser.description = "\n\n".join([__doc__ or "", *(helper.about for helper in different)])


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    from jaxharm.weights.torch_file import check_file

    helpers = _helpers()
    for helper in dict.fromkeys(helpers.values()):
        given = [option for option in helper.names if getattr(arguments, option) is not None]
        names = _names_of(helper)
        if given and arguments.name not in names:
            option, name = given[0].replace("_", "-"), arguments.name
            rest = f"not with {name}" if name else "give it as NAME before the file"
            raise InputError(f"--{option} goes with {' or '.join(names)}: {rest}")
    if arguments.name in helpers:
        return helpers[arguments.name].execute(arguments)
    if arguments.name is None and str(arguments.checkpoint) in {*registry.list_models(), *helpers}:
        raise InputError(
            f"OUT_DIR is missing: python -m jaxharm convert {arguments.checkpoint} "
            f"{arguments.out_dir} OUT_DIR"
        )
    if arguments.name is not None:
        registry.get(arguments.name)
    check_file(arguments.checkpoint)
    _refuse_other_file(arguments)
    print(json.dumps(_convert(arguments), indent=1))
    return 0


def _convert(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Writes the weights folder; returns its manifest."""
    import dataclasses

    from jaxharm.convert import from_torch
    from jaxharm.overrides import apply_overrides
    from jaxharm.weights.portable import save_weights
    from jaxharm.weights.torch_file import describe_file, read_torch_file

    state = read_torch_file(arguments.checkpoint)
    _refuse_other_file(arguments, state)
    entry = registry.get(arguments.name or _name_of(state, arguments))
    config = registry.model_config(entry.name, **entry.official)
    config = apply_overrides(config, arguments.set)
    overrides = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    try:
        variables = from_torch(entry.name, state, **overrides)
    except InputError:
        _refuse_wrong_name(entry.name, state, arguments)
        raise
    source = describe_file(arguments.checkpoint)
    # A file that others trained has the same tensors: only its name tells an official one.
    official = next((f for f in entry.official_files if f.file == source["file"]), None)
    extra: dict[str, object] = {"license": official.license if official else "not known"}
    extra["source"] = source | ({"page": official.page} if official else {})
    return save_weights(arguments.out_dir, entry.name, config, variables, extra)


def _name_of(state: "Mapping[str, np.ndarray]", arguments: argparse.Namespace) -> str:
    """The model that a file without NAME is of."""
    from jaxharm.convert import recognized

    found = recognized(state)
    if len(found) == 1:
        return found[0]
    known = f"it may be of {' or '.join(found)}" if found else "its tensors are of no known model"
    raise InputError(
        f"{arguments.checkpoint} does not say what it is: {known}; give its NAME: "
        f"python -m jaxharm convert NAME {arguments.checkpoint} {arguments.out_dir}, where NAME is "
        f"one of {', '.join([*registry.list_models(), *_helpers()])}"
    )


def _refuse_wrong_name(
    name: str, state: "Mapping[str, np.ndarray]", arguments: argparse.Namespace
) -> None:
    """InputError with the right name where the file is of another model."""
    from jaxharm.convert import recognized

    found = recognized(state)
    if found and name not in found:
        raise InputError(
            f"{arguments.checkpoint} is of {found[0]}, not of {name}: python -m jaxharm convert "
            f"{found[0]} {arguments.checkpoint} {arguments.out_dir}"
        ) from None


def _refuse_other_file(
    arguments: argparse.Namespace, state: "Mapping[str, np.ndarray] | None" = None
) -> None:
    """InputError with what to type where the file is of no model, by a tensor or by its name."""
    path = arguments.checkpoint
    for official in (file for entry in registry.entries() for file in entry.official_files):
        of_a_model = official.use.split()[3:5] in [["convert", n] for n in registry.list_models()]
        named = state is None and path.name == official.file and not of_a_model
        if named or (state and official.tensor in state):
            use = official.use.replace(official.file, str(path))
            raise InputError(f"{path} holds no model ({official.contents}): {use}")


@functools.cache
def _helpers() -> "dict[str, HelperNetwork]":
    """The networks that are made beside the models: for metrics, and by the papers' rooms."""
    loads = {name: load for entry in registry.entries() for name, load in entry.helpers.items()}
    made = {load: load() for load in loads.values()}
    return {"lpips": LpipsCommand(), **{name: made[load] for name, load in loads.items()}}


def _names_of(helper: "HelperNetwork") -> list[str]:
    return [name for name, other in _helpers().items() if other is helper]

"""Write the weights of a run as a folder to give away, or the whole network as one file.

Without --format OUT, a folder, gets weights.safetensors and manifest.json, which is printed. The manifest says what the
weights were trained on, as the run recorded it, and what is given here: their license, whom to name,
how good they are, and the strength that `jaxharm harmonize` takes where its user gives none.

--format stablehlo (OUT.zip) and onnx (OUT.onnx) write the network with its weights inside, for programs
without jaxharm: docs/guides/tools.md shows how to run them. They take pictures as the network sees them,
at any size where it allows that, else at --size.

Examples:
  jaxharm eval --config MODEL/RUN --workdir RUN --strength 0.7 --out RUN/eval
  jaxharm export RUN OUT_DIR --float16 --license CC0-1.0 --measured RUN/eval --recommend-strength 0.7
  jaxharm export OUT_DIR network.onnx --format onnx
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm.cli.command import local_path
from jaxharm.errors import InputError

if TYPE_CHECKING:
    from jaxharm.config import Json
    from jaxharm.weights.card import Measured

_OF_WEIGHTS = ("float16", "license", "attribution", "encoder", "measured", "recommend_strength")
_OF_PROGRAMS = ("size", "batch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add = parser.add_argument
    add("checkpoint", metavar="RUN", help="a run or a weights folder; a folder or its address")
    add("out", metavar="OUT", type=local_path, help="weights folder, or file, to write")
    add(
        "--format",
        choices=("weights", "stablehlo", "onnx", "tflite"),
        default="weights",
        help="weights (default) for jaxharm; the others say what they need where it is missing",
    )
    add(
        "--size",
        type=int,
        help="of stablehlo and onnx: side of the pictures; default: any, or the model's",
    )
    add("--batch", type=int, help="of stablehlo and onnx: pictures at once; default: any")
    add("--float16", action="store_true", help="half the size; widened to float32 when loaded")
    add("--license", help="of the weights, such as CC-BY-4.0")
    add("--attribution", help="whom the license asks to name, or the file beside them that says it")
    add("--encoder", help="the frozen network that they hold, and its license")
    add(
        "--measured",
        action="append",
        default=[],
        type=local_path,
        metavar="DIR",
        help="results of `jaxharm eval --out DIR`; may be repeated; replaces those recorded before",
    )
    add("--recommend-strength", type=float, metavar="S", help="0 to 1, for harmonize")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    others = _OF_PROGRAMS if arguments.format == "weights" else _OF_WEIGHTS
    for name in others:
        if getattr(arguments, name) not in (None, False, []):
            option = name.replace("_", "-")
            raise InputError(
                f"--{option} does not go with --format {arguments.format}: leave it out"
            )
    return _weights(arguments) if arguments.format == "weights" else _program(arguments)


def _program(arguments: argparse.Namespace) -> int:
    from jaxharm.compiler import use_cpu_only
    from jaxharm.images import write_whole
    from jaxharm.inference.loading import load_network
    from jaxharm.inference.program import check_file, make_program
    from jaxharm.weights.card import read_card

    check_file(arguments.out, arguments.format)
    use_cpu_only()
    network = load_network(None, None, arguments.checkpoint)
    program = make_program(
        network,
        arguments.format,
        license=read_card(arguments.checkpoint).license,
        size=arguments.size,
        batch=arguments.batch,
    )
    write_whole(arguments.out, program.content)
    print(json.dumps(program.manifest, indent=1))
    return 0


def _weights(arguments: argparse.Namespace) -> int:
    from jaxharm.weights.card import read_card
    from jaxharm.weights.portable import find_weights, load_weights, read_manifest, save_weights

    folder = find_weights(arguments.checkpoint)
    if arguments.out.resolve() == folder.resolve():
        raise InputError(f"{arguments.out} holds the weights that are read: name another folder")
    name, config, variables = load_weights(folder)
    given: Json = {
        "license": arguments.license,
        "attribution": arguments.attribution,
        "encoder": arguments.encoder,
        "recommended_strength": arguments.recommend_strength,
        "measured": tuple(_measured(folder, name) for folder in arguments.measured) or None,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    card = dataclasses.replace(read_card(folder), **changes)
    kept = {k: v for k, v in read_manifest(folder).items() if k in ("source", "training")}
    manifest = save_weights(
        arguments.out,
        name,
        config,
        variables,
        {**kept, **card.entries()},
        half=arguments.float16,
    )
    print(json.dumps(manifest, indent=1))
    return 0


def _measured(folder: Path, model: str) -> "Measured":
    """The sum of an evaluation; InputError where the folder holds none."""
    from jaxharm.evaluation.columns import columns_of
    from jaxharm.evaluation.summary import ALL
    from jaxharm.weights.card import Measured

    file = folder / "metrics.json"
    try:
        values: Json = json.loads(file.read_text(encoding="utf-8"))
        told, means = values["statement"]["evaluated"], values[ALL]
        names = [name for name, column in columns_of(values).items() if column.headline]
        measured = Measured(
            data=told["data"],
            protocol=values["protocol"],
            strength=float(told["strength"]),
            images=means["count"],
            model=_rounded(means, names),
            composite=_rounded(values["baseline"][ALL], names),
            **_rounded(means, ["improved", "made_worse"]),
        )
        of = told["model"]
    except OSError as error:
        raise InputError(
            f"cannot read {file}: {error.strerror}; --measured takes the folder that "
            "`jaxharm eval --out` wrote"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not what this version of `jaxharm eval` writes: evaluate again "
            f"({type(error).__name__}: {error})"
        ) from None
    if of != model:
        raise InputError(f"{file} is of model {of}, not of {model}")
    return measured


def _rounded(values: "Json", names: Sequence[str]) -> dict[str, float]:
    """The values that are defined."""
    return {name: round(values[name], 4) for name in names if values.get(name) is not None}

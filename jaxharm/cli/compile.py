"""Compile the training step of a config for a machine that is not here, and report what came out.

The chip's own compiler makes the program and is asked for the memory that it needs, the
collectives, the kernels that are really inside, and, where it gives one, its estimate of the time.
Nothing runs. `pip install 'jaxharm[compile]'` brings the compilers.

Example:
  jaxharm compile --config MODEL/RUN --topology v5e:16x16 --set precision=bfloat16
  jaxharm compile --config MODEL/RUN --topology h200:8 --set ops.implementation=pallas_gpu --json step.json
"""

import argparse
import json
from pathlib import Path

from jaxharm.cli.command import local_path
from jaxharm.cli.run_arguments import add_config_arguments
from jaxharm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add_config_arguments(parser)
    add = parser.add_argument
    add(
        "--topology",
        required=True,
        metavar="MACHINE",
        help="a TPU slice (v5e:16x16, v5p:4x4x4, v6e:8x8) or GPUs of one or several hosts (h200:8, h100:4x8)",
    )
    add("--parallel", choices=("shard_map", "pmap", "jit", "fsdp"), help="default: the config's")
    add("--step-only", action="store_true", help="leave out the prediction")
    add("--json", type=local_path, metavar="FILE", help="write the figures there as well")
    add("--dump", type=local_path, metavar="DIR", help="write the compiled programs there, as text")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status: 0, or 1 where the step does not fit."""
    from jaxharm.chips.report import describe, measure
    from jaxharm.chips.step import TooLarge, compile_prediction, compile_step, plan
    from jaxharm.chips.targets import find_target
    from jaxharm.cli.run_arguments import config_of
    from jaxharm.compiler import use_cpu_only
    from jaxharm.progress import progress

    use_cpu_only()  # the programs are for other machines
    if arguments.parallel is not None:
        arguments.set = [*arguments.set, f"parallel={arguments.parallel}"]
    target = find_target(arguments.topology)
    work = plan(config_of(arguments), target)
    print(f"compiling {work.title} ...", flush=True)
    parts = {"training step": compile_step}
    if not arguments.step_only:
        parts["prediction"] = compile_prediction
    figures = {}
    for name, compiled in parts.items():
        try:
            with progress(f"compiling the {name}"):
                made = compiled(work)
        except TooLarge as error:
            print(f"{name}: {error}")
            return 1
        if arguments.dump is not None:
            _write(arguments.dump / f"{name.replace(' ', '_')}.txt", made.program.as_text())
        figures[name] = measure(work, made, whole=name == "training step")
        print(describe(name, figures[name]), flush=True)
    if arguments.json is not None:
        streams = 1 + work.config.data.unpaired.enabled
        record = {"run": work.title, "topology": target.name, "streams": streams, **figures}
        _write(arguments.json, json.dumps(record, indent=1) + "\n")
    return int(any(not each["fits"] for each in figures.values()))


def _write(path: Path, text: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_text(text or "")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None

"""Compare two runs: equal, or the first step and field that differ.

Exit status: 0 equal, 1 different. With --pictures PAGE.html it shows the results of both, of the images
that `jaxharm eval` kept, instead; status 0.
"""

import argparse

from jaxharm.cli.command import local_path
from jaxharm.storage import local_copy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("first", help="folder of a run, or its address in a bucket")
    parser.add_argument("second", help="folder of another run")
    parser.add_argument("--pictures", type=local_path, metavar="PAGE", help="HTML page to write")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    if arguments.pictures is not None:
        from jaxharm.evaluation.beside import write_comparison

        first, second = local_copy(arguments.first), local_copy(arguments.second)
        count = write_comparison(first, second, arguments.pictures)
        print(f"wrote {arguments.pictures}, {count} images")
        return 0
    from jaxharm.training.compare import compare_runs_in

    found = compare_runs_in(arguments.first, arguments.second)
    for key, change in found.settings.items():
        print(f"setting {key}: {change.old!r} and {change.new!r}")
    if found.equal:
        print(f"equal: {found.rows} rows of the curves and {found.arrays} arrays of weights")
        return 0
    for what, difference in (("curves", found.curve), ("weights", found.weights)):
        print(f"{what}: {'equal' if difference is None else f'first difference at {difference}'}")
    return 1

"""The commands of `python -m jaxharm`; each module adds its parser and runs when chosen."""

import argparse
from collections.abc import Sequence

from jaxharm.cli import convert, harmonize, models, votes
from jaxharm.errors import run_command
from jaxharm.papers.pih import plot_curves

_COMMANDS = {
    "harmonize": harmonize,
    "plot-curves": plot_curves,
    "convert": convert,
    "models": models,
    "votes": votes,
}


def run(argv: Sequence[str]) -> int:
    """Parses `argv`, runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m jaxharm", description="Image harmonization.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in _COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(
            commands.add_parser(
                name,
                help=summary,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    arguments = parser.parse_args(argv)
    return run_command(lambda: _COMMANDS[arguments.command].execute(arguments))

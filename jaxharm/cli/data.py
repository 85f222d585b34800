"""Build, check, export or make data sets.

jaxharm data build DATASET        write a built data set: the same as python -m data_pipelines.build
jaxharm data verify NAME          check one: python -m data_pipelines.verify
jaxharm data export NAME          write records back to files: python -m data_pipelines.export
jaxharm data make-ccharmony ...   make ccHarmony from photographs: python -m data_pipelines.making.ccharmony
jaxharm data make-ffhqh ...       make FFHQH from portraits: python -m data_pipelines.making.ffhqh

Each has a --help of its own.
"""

import argparse
from collections.abc import Callable, Sequence

Main = Callable[[Sequence[str]], int]


def _build() -> Main:
    from data_pipelines.build import main

    return main


def _verify() -> Main:
    from data_pipelines.verify import main

    return main


def _export() -> Main:
    from data_pipelines.export import main

    return main


def _make_ccharmony() -> Main:
    from data_pipelines.making.ccharmony.__main__ import main

    return main


def _make_ffhqh() -> Main:
    from data_pipelines.making.ffhqh import main

    return main


_COMMANDS: dict[str, Callable[[], Main]] = {
    "build": _build,
    "verify": _verify,
    "export": _export,
    "make-ccharmony": _make_ccharmony,
    "make-ffhqh": _make_ffhqh,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("command", choices=tuple(_COMMANDS), help="what to do")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of that command")


def execute(arguments: argparse.Namespace) -> int:
    """Hands the rest of the command line to the chosen command of data_pipelines."""
    return _COMMANDS[arguments.command]()(arguments.arguments)

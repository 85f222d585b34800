"""How one command of `jaxharm` is run.

A command is a module with a docstring (its help text), `add_arguments(parser)` and
`execute(arguments)`. One that also has `epilog(argv)` adds text to its own `--help`, which may
depend on the rest of the command line.
"""

import argparse
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from jaxharm.commands import Command
from jaxharm.errors import InputError, run_command
from jaxharm.storage import path_of


def local_path(text: str) -> Path:
    """A file or folder of this machine, as the `type` of an argument."""
    try:
        return path_of(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _show(message: object, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


@contextlib.contextmanager
def warnings_in_one_line(show: Callable[..., None] = _show) -> Iterator[None]:
    """Shows warnings for users as one line on stderr, without the source line that raised them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def run_module(module: Command, argv: Sequence[str], *, prog: str) -> int:
    """Parses `argv` for a command and runs it.

    Args:
        module: the command.
        argv: what stands behind the command's name.
        prog: how the command is called, for its help text.

    Returns:
        The exit status: the command's own, or 2 after one line on stderr where the input was bad.
    """

    def body() -> int:
        parser = argparse.ArgumentParser(
            prog=prog,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(parser)
        epilog = cast("Callable[[Sequence[str]], str] | None", getattr(module, "epilog", None))
        if epilog is not None and {"-h", "--help"} & set(argv):
            parser.epilog = epilog(argv)
        return module.execute(parser.parse_args(argv))

    return run_command(body)

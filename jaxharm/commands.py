"""What a paper's room may add to the command line, as types; the entries refer to it.

The command line finds all of it through the registry and names no paper.
"""

import argparse
from typing import Protocol


class Command(Protocol):
    """A command: usually a module, whose first docstring line is the summary in `--help`.

    Importing it must be quick, since `jaxharm --help` does so: it imports what is slow when it
    runs.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the arguments."""
        ...

    def execute(self, arguments: argparse.Namespace) -> int:
        """Does the work; returns the exit status."""
        ...

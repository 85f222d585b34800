"""`python -m jaxharm`: see `jaxharm.cli`."""

import sys
from collections.abc import Sequence

from jaxharm.cli import run


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status (0 done, 2 bad input)."""
    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())

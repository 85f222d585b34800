"""Evaluates a trained system: the same as `jaxharm eval`."""

import sys

from jaxharm.cli.eval import main

if __name__ == "__main__":
    sys.exit(main())

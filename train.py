"""Trains a system: the same as `jaxharm train`."""

import sys

from jaxharm.cli.train import main

if __name__ == "__main__":
    sys.exit(main())

"""Rank methods by pairwise votes of a user study (Bradley-Terry scores).

FILE is a CSV with the columns image, method_a, method_b, winner (one of the two methods, or tie), such
as `jaxharm studio --study` writes. With --checks, its answers to attention checks, the votes of raters
who failed one are left out (--allowed-failures N allows N).
"""

import argparse
import sys

from jaxharm.cli.command import local_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("file", type=local_path, help="CSV: image,method_a,method_b,winner")
    parser.add_argument(
        "--smoothing", type=float, default=0.5, help="added to each pair's wins; 0: none"
    )
    parser.add_argument("--checks", type=local_path, help="CSV: rater,image,passed (yes or no)")
    parser.add_argument("--allowed-failures", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap of the intervals")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    from jaxharm.errors import InputError
    from jaxharm.studies.bradley_terry import fit_votes, read_raters, read_votes, table

    votes = read_votes(arguments.file)
    if arguments.checks is not None:
        careless = read_raters(arguments.checks, arguments.allowed_failures)
        dropped = [vote for vote in votes if vote.rater in careless]
        if dropped:
            names = ", ".join(sorted({vote.rater for vote in dropped}))
            print(f"left out: {len(dropped)} votes of {names}", file=sys.stderr)
        votes = [vote for vote in votes if vote.rater not in careless]
        if not votes:
            raise InputError("no vote is left: every rater failed more checks than are allowed")
    print(table(fit_votes(votes, smoothing=arguments.smoothing, seed=arguments.seed)))
    return 0

"""Rank methods by pairwise votes of a user study (Bradley-Terry scores).

FILE is a CSV with the columns image, method_a, method_b, winner (one of the two methods, or tie).
"""

import argparse

from jaxharm.cli.command import local_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("file", type=local_path, help="CSV: image,method_a,method_b,winner")
    parser.add_argument(
        "--smoothing", type=float, default=0.5, help="added to each pair's wins; 0: none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap of the intervals")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    from jaxharm.studies.bradley_terry import fit_votes, read_votes, table

    votes = read_votes(arguments.file)
    print(table(fit_votes(votes, smoothing=arguments.smoothing, seed=arguments.seed)))
    return 0

"""Harmonize by hand in your browser, or collect votes of raters.

Opens the studio, a page on which pictures are loaded, placed, harmonized, changed and saved. Everything happens on this machine: pictures stay in its memory, and nothing is sent elsewhere.

With --study FOLDER it shows raters pairs of results instead, and collects votes for `jaxharm votes`:
FOLDER holds one folder per method, with pictures of the same names; checks/good and checks/bad may hold
pairs that tell whether a rater pays attention, question.txt another question. Votes go to
FOLDER/votes.csv, answers to the checks to FOLDER/checks.csv.
"""

import argparse

from jaxharm.cli.command import local_path
from jaxharm.cli.serve import add_server, hosts_of, limits_of, listen, models_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add_server(parser)
    parser.add_argument("--study", type=local_path, metavar="FOLDER", help="page for raters")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the server until it is stopped; returns the exit status."""
    from jaxharm.studio.app import make_app

    hosts, limits = hosts_of(arguments), limits_of(arguments)
    if arguments.study is not None:
        app = make_app(None, limits, study=arguments.study, hosts=hosts)
    else:
        app = make_app(models_of(arguments), limits, pages=True, hosts=hosts)
    return listen(app, arguments, browser=not arguments.no_browser)

"""Train and compare several runs over several seeds. Run it again to resume.

Example:
  jaxharm study --study MODEL/STUDY --workdir DIR --set data.data_dir=DATA
"""

import argparse
from pathlib import Path
from typing import get_args

from jaxharm.config import Packing
from jaxharm.studies.ablation import load_study, plan
from jaxharm.studies.run import run_jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add = parser.add_argument
    add("--study", required=True, help="a published study, or a file that defines get_study()")
    add("--workdir", required=True, type=Path, help="folder of all its runs")
    add("--seeds", type=int, nargs="+", help="instead of the study's own")
    add("--only", nargs="+", metavar="RUN", help="these runs, and what they need")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a field of every run's config",
    )
    add(
        "--pack",
        choices=get_args(Packing),
        help="train all seeds of a run by one command: one after the other in one process (the same "
        "bits), or all at once by vmap; see `jaxharm train --help`",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Makes the runs that are not finished and prints the table."""
    study = load_study(arguments.study, arguments.seeds or (), arguments.only or ())
    jobs = plan(study, arguments.workdir, arguments.set)
    run_jobs(study, jobs, arguments.workdir, arguments.pack)
    return 0

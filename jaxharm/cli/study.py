"""Train and compare several runs over several seeds. Run it again to resume.

Example:
  jaxharm study --study MODEL/STUDY --workdir DIR --set data.data_dir=DATA
"""

import argparse
from pathlib import Path
from typing import get_args

from jaxharm.cli.command import local_path
from jaxharm.config import Packing
from jaxharm.config_file import find_config
from jaxharm.errors import InputError
from jaxharm.studies.ablation import load_study, plan
from jaxharm.studies.job_files.options import PLACES, place
from jaxharm.studies.job_files.write import write_jobs
from jaxharm.studies.run import report, run_job, run_jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add = parser.add_argument
    add("--study", required=True, help="a published study, or a file that defines get_study()")
    add("--workdir", required=True, type=local_path, help="folder of all its runs")
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
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--job", type=int, metavar="N", help="make this one run, counted from 1")
    what.add_argument("--report", action="store_true", help="write the reports, make no run")
    what.add_argument(
        "--write-jobs", choices=tuple(PLACES), help="write files that make the runs, make no run"
    )
    add("--out", type=local_path, help="folder of the files of --write-jobs; else WORKDIR/jobs")
    add(
        "--place",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what the files of --write-jobs ask for, such as image=IMAGE; may be repeated",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Makes the runs that are not finished and prints the table, or what the arguments ask for."""
    study = load_study(arguments.study, arguments.seeds or (), arguments.only or ())
    workdir: Path = arguments.workdir
    if (arguments.out or arguments.place) and not arguments.write_jobs:
        raise InputError("--out and --place go with --write-jobs; add it or leave them out")
    if arguments.pack and (arguments.job is not None or arguments.report or arguments.write_jobs):
        raise InputError("--pack trains seeds together: leave out --job, --report or --write-jobs")
    jobs = plan(study, workdir, arguments.set)
    if arguments.write_jobs:
        files = write_jobs(
            jobs,
            _same_study(arguments),
            _name(arguments.study),
            place(arguments.write_jobs, arguments.place),
            arguments.out or workdir / "jobs",
        )
        print("wrote", *files)
    elif arguments.job is not None:
        run_job(study, jobs, arguments.job, workdir)
    elif arguments.report:
        print(report(study, jobs, workdir) or "no measured run is finished yet\n", end="")
    else:
        run_jobs(study, jobs, workdir, arguments.pack)
    return 0


def _same_study(arguments: argparse.Namespace) -> list[str]:
    """The arguments that give the same plan again, from wherever a file of jobs is started."""
    study = Path(arguments.study)
    words = ["--study", str(study.resolve()) if study.is_file() else arguments.study]
    words += ["--workdir", str(arguments.workdir.absolute())]
    for flag, values in (("--seeds", arguments.seeds), ("--only", arguments.only)):
        words += [flag, *map(str, values)] if values else []
    return words + [f"--set={item}" for item in arguments.set]


def _name(study: str) -> str:
    file = find_config(study)
    return f"{file.parent.name}/{file.stem}"

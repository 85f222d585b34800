"""Fills in the templates of this folder."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from jaxharm.errors import InputError
from jaxharm.images import write_whole
from jaxharm.studies.ablation import Job
from jaxharm.studies.job_files.options import JobsetPlace, Place, SlurmPlace


@dataclass(frozen=True)
class Group:
    """Jobs that start from the same ones, and can be submitted together.

    Attributes:
        number: of the group, from 1.
        jobs: numbers of its jobs.
        after: (number of a group, number of a job in it) of the jobs that they start from.
    """

    number: int
    jobs: tuple[int, ...]
    after: tuple[tuple[int, int], ...]


def write_jobs(
    jobs: Sequence[Job], arguments: Sequence[str], name: str, where: Place, folder: Path
) -> list[Path]:
    """Writes the files of a study.

    Args:
        jobs: its plan.
        arguments: of `jaxharm study`, without those that choose what it does.
        name: of the study, for people.
        where: the place that the files are for.
        folder: of the files; made where absent.

    Returns:
        The files, the one to begin with first.

    Raises:
        InputError: as `write_jobset`.
    """
    if isinstance(where, JobsetPlace):
        return write_jobset(jobs, arguments, name, where, folder)
    filled: dict[str, object] = {
        "name": name,
        "slug": slug(name),
        "jobs": jobs,
        "arguments": shlex.join(arguments),
        # Paths in the settings may be relative to where the user stands.
        "here": shlex.quote(str(Path.cwd())),
        "folder": shlex.quote(str(folder.resolve())),
    }
    if isinstance(where, SlurmPlace):
        (folder / "logs").mkdir(parents=True, exist_ok=True)  # Slurm does not make it
        filled |= {"place": where, "groups": groups(jobs), "logs": str(folder.resolve() / "logs")}
        names = ["submit.sh", "study.sbatch", "report.sbatch"]
    else:
        names = ["study.sh"]
    return [_fill(f"{file}.j2", folder / file, filled) for file in names]


def write_jobset(
    jobs: Sequence[Job], arguments: Sequence[str], name: str, where: JobsetPlace, folder: Path
) -> list[Path]:
    """Writes one JobSet for each set of runs that hang together.

    Raises:
        InputError: the work folder is outside of the shared volume, `where` does not fit, or a run
            whose batch its chips cannot divide.
    """
    workdir = arguments[arguments.index("--workdir") + 1]
    if not Path(workdir).is_relative_to(where.mount):
        raise InputError(
            f"--workdir {workdir} is not in {where.mount}, where the pods' shared volume is mounted; "
            f"choose a folder there, or another --place mount=FOLDER"
        )
    for job in jobs:
        if job.batch_size % where.total:
            raise InputError(
                f"{job.label} has batches of {job.batch_size}, which the {where.total} chips of "
                f"--place topology={where.topology} cannot divide evenly; choose a smaller topology, or "
                f"--set data.batch_size={where.total}"
            )
    filled: dict[str, object] = {
        "name": name,
        "slug": slug(name),
        "sets": connected(jobs),
        "direct": {job.number: direct_needs(jobs, job) for job in jobs},
        "command": ["jaxharm", "study", *arguments],
        "place": where,
        "hosts": where.hosts,
        "report": shlex.join(["jaxharm", "study", *arguments, "--report"]),
    }
    return [_fill("study.yaml.j2", folder / "study.yaml", filled)]


def slug(name: str) -> str:
    """A name that Kubernetes and Slurm accept: lower case, digits and '-', at most 30 characters."""
    short = re.sub(r"[^a-z0-9]+", "-", name.lower())[:30].strip("-")
    return short if short and short[0].isalpha() else f"study-{short}".strip("-")


def groups(jobs: Sequence[Job]) -> list[Group]:
    """Groups jobs by what they start from, in an order in which all of that comes earlier."""
    found: dict[tuple[int, ...], list[int]] = {}
    for job in jobs:
        found.setdefault(job.needs, []).append(job.number)
    # A group may follow another one although its first job comes before: sort by depth.
    depth: dict[int, int] = {}
    for job in jobs:
        depth[job.number] = 1 + max((depth[n] for n in job.needs), default=0)
    ordered = sorted(found.items(), key=lambda item: depth[item[1][0]])
    of = {n: i for i, (_, numbers) in enumerate(ordered, 1) for n in numbers}
    return [
        Group(i, tuple(numbers), tuple((of[n], n) for n in needs))
        for i, (needs, numbers) in enumerate(ordered, 1)
    ]


def connected(jobs: Sequence[Job]) -> list[list[Job]]:
    """Splits a plan into the sets of jobs that hang together, each in the plan's order."""
    root = {job.number: job.number for job in jobs}
    for job in jobs:
        for needed in job.needs:
            old, new = root[job.number], root[needed]
            root = {n: new if r == old else r for n, r in root.items()}
    sets: dict[int, list[Job]] = {}
    for job in jobs:
        sets.setdefault(root[job.number], []).append(job)
    return list(sets.values())


def direct_needs(jobs: Sequence[Job], job: Job) -> tuple[int, ...]:
    """What a job starts from, without what these start from themselves.

    JobSet took only one dependency for each entry at first; chains need no more.
    """
    above: set[int] = set()
    for number in job.needs:
        above |= _above(jobs, number)
    return tuple(n for n in job.needs if n not in above)


def _above(jobs: Sequence[Job], number: int) -> set[int]:
    needs = jobs[number - 1].needs
    return {*needs, *(n for needed in needs for n in _above(jobs, needed))}


def _fill(template: str, file: Path, filled: dict[str, object]) -> Path:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxharm.studies.job_files", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, environment.get_template(template).render(filled).encode())
    return file

"""The seeds of a study's runs, trained together: one command for all seeds of a run."""

import dataclasses
import string
from collections.abc import Iterator, Sequence

from jaxharm.config import Packing
from jaxharm.studies.ablation import Job


def train_arguments(job: Job) -> list[str]:
    """Arguments of `jaxharm train` and `jaxharm eval` that name the job's run and its folder."""
    arguments = ["--config", job.run.config, "--workdir", str(job.folder)]
    arguments += [f"--overlay={name}" for name in job.run.overlays]
    return arguments + [f"--set={item}" for item in job.sets]


def packed_commands(jobs: Sequence[Job], packing: Packing) -> Iterator[tuple[str, list[str]]]:
    """Plans how the jobs are trained with as few commands as possible.

    Args:
        jobs: those that are not finished, in the order of the study.
        packing: how the seeds of a run are trained together.

    Yields:
        What is trained, for messages, and the arguments of `jaxharm train`. Runs come in the order
        of the study, each with all its seeds: what another one starts from comes first.
    """
    by_run: dict[str, list[Job]] = {}
    for job in jobs:
        by_run.setdefault(job.run.name, []).append(job)
    for name, group in by_run.items():
        if len(group) == 1:
            yield group[0].label, train_arguments(group[0])
        else:
            seeds = [str(job.seed) for job in group]
            arguments = _for_any_seed(group[0])
            yield (
                f"{name} seeds {', '.join(seeds)}",
                [*arguments, "--pack", packing, "--seeds", *seeds],
            )


def _for_any_seed(job: Job) -> list[str]:
    """The job's `train_arguments` without its seed: {seed} where a folder is that of a seed."""
    runs = job.folder.parent.parent
    sets = [item for item in job.sets if not item.startswith("seed=")]
    for number, template in enumerate(job.run.sets):  # they come first among the settings
        for _, name, _, _ in string.Formatter().parse(template):
            if name:
                own, any_seed = (str(runs / name / f"seed{seed}") for seed in (job.seed, "{seed}"))
                sets[number] = sets[number].replace(own, any_seed)
    return train_arguments(dataclasses.replace(job, folder=job.folder.parent, sets=tuple(sets)))

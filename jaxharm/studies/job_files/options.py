"""What a cluster must be told beside the study itself: `--place KEY=VALUE`."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from jaxharm.errors import InputError


@dataclass(frozen=True)
class ShellPlace:
    """A shell needs nothing."""


@dataclass(frozen=True)
class SlurmPlace:
    """What every run asks Slurm for.

    Attributes:
        partition: its name; the cluster's default if empty.
        time: limit, as D-HH:MM:SS; the run saves its state two minutes before.
        gpus, cpus: of one run, on one node.
        memory: as Slurm writes it.
        options: more options of sbatch, separated by spaces, such as --account=NAME.
    """

    partition: str = ""
    time: str = "1-00:00:00"
    gpus: str = "1"
    cpus: str = "8"
    memory: str = "64G"
    options: str = ""


@dataclass(frozen=True)
class JobsetPlace:
    """What every run asks Kubernetes for: one slice of a TPU.

    Attributes:
        image: container image in which `jaxharm` is installed.
        claim: persistent volume claim that all pods share, for data and runs.
        mount: where the claim is mounted; --workdir must lie in it.
        accelerator, topology: of the slice, as GKE calls them.
        chips: of one host.
        restarts: how often a set of runs is started again after a failure.
    """

    image: str = ""
    claim: str = ""
    mount: str = "/data"
    accelerator: str = "tpu-v5-lite-podslice"
    topology: str = "2x4"
    chips: str = "4"
    restarts: str = "3"

    def __post_init__(self) -> None:
        for name in ("image", "claim"):
            if not getattr(self, name):
                raise InputError(
                    f"--write-jobs jobset needs --place {name}={name.upper()}: "
                    + {"image": "a container image in which jaxharm is installed"}.get(
                        name, "a persistent volume claim that all pods share"
                    )
                )

    @property
    def total(self) -> int:
        """Chips of the slice.

        Raises:
            InputError: topology or chips are no numbers, or do not divide.
        """
        try:
            total, chips = math.prod(map(int, self.topology.split("x"))), int(self.chips)
        except ValueError:
            total, chips = 0, 1
        if chips < 1 or total < 1 or total % min(chips, total):
            raise InputError(
                f"--place topology={self.topology} is not made of hosts with chips={self.chips}; a "
                f"topology is written like 4x4 or 2x2x4"
            )
        return total

    @property
    def hosts(self) -> int:
        """Pods of one run."""
        return max(1, self.total // int(self.chips))


Place = ShellPlace | SlurmPlace | JobsetPlace
PLACES: dict[str, type[Place]] = {"shell": ShellPlace, "slurm": SlurmPlace, "jobset": JobsetPlace}
PlaceT = TypeVar("PlaceT", bound=Place)


def place(kind: str, settings: Sequence[str]) -> Place:
    """What `--place KEY=VALUE` says about the place of a kind.

    Raises:
        InputError: not of that form, a key that the kind does not have, or one that it needs.
    """
    cls = PLACES[kind]
    known = [field.name for field in dataclasses.fields(cls)]
    values = {}
    for item in settings:
        key, equals, value = item.partition("=")
        if not equals or key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"--place {item!r} is no KEY=VALUE of --write-jobs {kind}; {has}")
        values[key] = value
    return cls(**values)

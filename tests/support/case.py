"""What a paper says of the tiny runs that the tests of all systems make of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A tiny run of a registered model.

    A file `tests/papers/<paper>/case.py` lists those of its paper in `CASES`. A registered model that
    no case names is run with the defaults below.

    Attributes:
        name: of the run; it is the test's parameter.
        model: the registered model; "" where it is called as the run.
        options: fields of the tiny Config that differ.
        objective: gives the objective; None stands for its defaults.
        lr: learning rate of plain SGD.
        painting: the batches have a background, which is the target itself.
        launched: whether the run is compared over launchers and device counts.
    """

    name: str
    model: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    objective: Callable[[], Any] | None = None
    lr: float = 0.1
    painting: bool = False
    launched: bool = True

    @property
    def registered(self) -> str:
        """The name of the registered model."""
        return self.model or self.name

"""What a paper's room may add to the command line and to the studio, as types; the entries refer to it.

Both find all of it through the registry and name no paper.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:  # `jaxharm --help` imports this module, and JAX is slow to import
    import numpy as np

    from jaxharm.interfaces import AnyRunner, Inputs, Timer

SeenT = TypeVar("SeenT")
SmoothedT = TypeVar("SmoothedT")


class Command(Protocol):
    """A command: usually a module, whose first docstring line is the summary in `--help`.

    Importing it must be quick, since `jaxharm --help` does so: it imports what is slow when it
    runs.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the arguments."""
        ...

    def execute(self, arguments: argparse.Namespace) -> int:
        """Does the work; returns the exit status."""
        ...


class Job(Protocol):
    """What `jaxharm harmonize` does with each image."""

    def run(self, name: str, inputs: "Inputs") -> "Mapping[str, np.ndarray]":
        """Harmonizes one image.

        Args:
            name: of the result, without suffix.
            inputs: its images.

        Returns:
            The pictures to write by the ending of their names; "" is the main one.
        """
        ...


@runtime_checkable
class ClipJob(Job, Protocol[SeenT, SmoothedT]):
    """A job for the frames of a clip, which are looked at first and made afterwards."""

    def look(self, name: str, inputs: "Inputs") -> SeenT:
        """What has to be known of a frame, small enough to keep several of them."""
        ...

    def smooth(self, frames: Iterable[SeenT | None]) -> Iterator[SmoothedT | None]:
        """One outcome per frame, in order; None for a frame that could not be read."""
        ...

    def finish(
        self, name: str, inputs: "Inputs", smoothed: SmoothedT
    ) -> "Mapping[str, np.ndarray]":
        """The pictures of a frame, as `run`."""
        ...


class HarmonizeFlags(Protocol):
    """The options that one paper adds to `jaxharm harmonize`.

    Attributes:
        title: of its group in `--help`.
        about: paragraphs of `--help`.
        names: of all its options as argparse stores them. Their default must be None, which means
            "not given".
        written: those of them that name files to write; no result depends on them.
        lacking: what a model that cannot do this lacks, for the sentence "NAME has no ...".
    """

    title: str
    about: str
    names: tuple[str, ...]
    written: tuple[str, ...]
    lacking: str

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Declares the options."""
        ...

    def check(self, arguments: argparse.Namespace) -> None:
        """InputError where options do not go together, before anything slow is done."""
        ...

    def replaces_model(self, arguments: argparse.Namespace) -> str | None:
        """Where options given make a model needless: the beginning of a sentence that says so."""
        ...

    def makes_clip(self, arguments: argparse.Namespace) -> bool:
        """Whether the pictures of a folder are frames of a clip: each result depends on all."""
        ...

    def job(self, arguments: argparse.Namespace, runner: "AnyRunner | None", timer: "Timer") -> Job:
        """The work that the options ask for; without a runner where they replace the model."""
        ...


@dataclass(frozen=True)
class Control:
    """A choice that the studio shows beside the strength.

    Attributes:
        name: key of its value in what `StudioControls.options` is given.
        label: for people.
        kind: "number" (a slider), "choice" (a list) or "flag" (a box to tick).
        default: its value at first.
        low, high, step: of a number.
        choices: of a choice: value and label.
        of_map: whether it means something only where a prediction has a map (`Editable.brush`).
    """

    name: str
    label: str
    kind: Literal["number", "choice", "flag"]
    default: float | str | bool
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    choices: tuple[tuple[str, str], ...] = ()
    of_map: bool = False


@dataclass(frozen=True)
class Editable:
    """What of a prediction can be changed by hand.

    Attributes:
        curves: name -> values in [0,1] of its knots, which lie at (i + 0.5) / number of knots.
        brush: whether there is a map to paint on.
    """

    curves: "Mapping[str, list[float]]"
    brush: bool


class StudioControls(Protocol):
    """What the studio offers of a paper's models beside the strength.

    Attributes:
        controls: in the order in which they are shown.
        files: name of a file that a prediction can be saved as -> its label.
    """

    controls: tuple[Control, ...]
    files: "Mapping[str, str]"

    def options(self, values: "Mapping[str, Any]") -> object:
        """The runner's options for these values; what is left out has its default.

        Raises:
            InputError: an unknown name, or a value out of range.
        """
        ...

    def editable(self, prediction: Any) -> Editable | None:
        """What of a prediction can be changed; None: nothing."""
        ...

    def edited(
        self, prediction: Any, curves: "Mapping[str, list[float]]", strokes: "Iterable[Stroke]"
    ) -> Any:
        """A prediction with other curves (those left out stay) and with strokes painted on its map.

        Raises:
            InputError: values that do not fit the prediction.
        """
        ...

    def file(self, name: str, prediction: Any, strength: float, options: Any) -> bytes:
        """The content of one of `files`; InputError where it cannot hold the prediction."""
        ...


@dataclass(frozen=True)
class Stroke:
    """A touch of the brush on a map over the picture.

    Attributes:
        x, y: of its middle, as shares of width and height.
        radius: at which it has fallen to an eighth, as a share of the picture's longer side.
        amount: added in the middle, from -1 to 1.
    """

    x: float
    y: float
    radius: float
    amount: float


class HelperNetwork(Protocol):
    """A network that harmonizes nothing but is needed for it: `jaxharm convert NAME` makes it.

    Attributes:
        about: paragraphs of `--help`.
        names: of its options as argparse stores them, None where not given.
    """

    about: str
    names: tuple[str, ...]

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Declares the options; `checkpoint`, `out_dir` and `set` are there already."""
        ...

    def execute(self, arguments: argparse.Namespace) -> int:
        """Makes the network; returns the exit status."""
        ...

"""The options of ProPIH at inference: which stage's result, and how it is stored."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from jaxharm.errors import InputError
from jaxharm.papers.propih.model import STAGES

if TYPE_CHECKING:
    from jaxharm.papers.propih.early_exit import ExitMode

StageChoice = int | Literal["auto", "all"]
Rounding = Literal["nearest", "trunc"]
_MODES: "dict[StageChoice, ExitMode]" = {"auto": "gru", "all": "all"}


@dataclass(frozen=True)
class Restyle:
    """How a painterly result is chosen and stored.

    Attributes:
        stage: 1 (colors) to 4 (strokes, too); "auto": the stage after which the exit head stops,
            and no later one is computed; "all": the results of every stage.
        exit_threshold: of "auto": the probability, in [0,1], from which it stops.
        rounding: of 8 and 16 bits; "trunc" is what the official code does, which may lower even an
            untouched pixel of the painting by one level.

    Raises:
        InputError: a value out of its range.
    """

    stage: StageChoice = STAGES
    exit_threshold: float = 0.5
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        known = (*range(1, STAGES + 1), *_MODES)
        # bool is an int: True would pass for stage 1.
        if isinstance(self.stage, bool) or self.stage not in known:
            raise InputError(
                f"stage {self.stage!r}: choose one of {', '.join(map(str, known))} (1 changes "
                f"colors only, {STAGES} paints strokes as well)"
            )
        if self.rounding not in get_args(Rounding):
            raise InputError(f"rounding {self.rounding!r}: choose nearest or trunc")
        if not 0 <= self.exit_threshold <= 1:
            raise InputError(f"exit threshold {self.exit_threshold} is not in [0, 1]")

    @property
    def mode(self) -> "ExitMode":
        """The name of the choice in `early_exit`."""
        return _MODES.get(self.stage, "fixed")

    @property
    def number(self) -> int:
        """The last stage that may have to run."""
        return self.stage if isinstance(self.stage, int) else STAGES

"""ProPIH in the studio: which stage's result."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from jaxharm.commands import Control, Stroke
from jaxharm.errors import InputError
from jaxharm.papers.propih.model import STAGES
from jaxharm.papers.propih.restyle import Restyle


class ProPIHControls:
    """See `jaxharm.commands.StudioControls`."""

    controls: tuple[Control, ...] = (
        Control("stage", "Stage", "number", float(STAGES), low=1.0, high=float(STAGES), step=1.0),
        Control("auto", "Let the exit head choose the stage", "flag", False),
    )
    files: Mapping[str, str] = MappingProxyType({})

    def options(self, values: Mapping[str, Any]) -> Restyle:
        """The `Restyle` of these values."""
        if unknown := sorted(set(values) - {"stage", "auto"}):
            raise InputError(f"unknown option {', '.join(unknown)}")
        if values.get("auto", False):
            return Restyle(stage="auto")
        stage = values.get("stage", STAGES)
        whole = isinstance(stage, int | float) and stage == int(stage)
        return Restyle(stage=int(stage) if whole else stage)

    def editable(self, prediction: Any) -> None:
        """Nothing: pixels are predicted."""
        del prediction

    def edited(
        self, prediction: Any, curves: Mapping[str, list[float]], strokes: Iterable[Stroke]
    ) -> Any:
        """InputError where anything is to be changed."""
        if curves or list(strokes):
            raise InputError("this model predicts pixels: there is nothing to drag or to paint on")
        return prediction

    def file(self, name: str, prediction: Any, strength: float, options: Any) -> bytes:
        """There is none."""
        del prediction, strength, options
        raise InputError(f"this model saves no {name}")

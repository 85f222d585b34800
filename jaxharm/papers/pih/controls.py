"""PIH in the studio: curves to drag, a shading map to paint on, what of both is applied."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxharm.commands import Control, Editable, Stroke
from jaxharm.errors import InputError
from jaxharm.papers.pih.edit import STRONGEST_SHADING, Edit
from jaxharm.papers.pih.export import cube_text
from jaxharm.papers.pih.parameters import CHANNELS, Parameters

_SHARES = tuple(f"{name}_share" for name in CHANNELS)


class PIHControls:
    """See `jaxharm.commands.StudioControls`."""

    controls: tuple[Control, ...] = (
        Control("parts", "Apply", "choice", "all", choices=(
            ("all", "curves and shading"), ("curves", "curves only"), ("shading", "shading only"),
        ), of_map=True),
        Control("shading_strength", "Shading", "number", 1.0, high=STRONGEST_SHADING, step=0.05,
                of_map=True),
        Control("blend", "Change", "choice", "all", choices=(
            ("all", "color and luminance"), ("luminance", "luminance only"), ("color", "color only"),
        )),
        *(Control(share, f"{name.capitalize()} share", "number", 1.0)
          for share, name in zip(_SHARES, CHANNELS, strict=True)),
        Control("single_alpha", "Blend soft edges once (hair)", "flag", False),
    )  # fmt: skip
    files: Mapping[str, str] = {
        "parameters.json": "Parameters (JSON)",
        "curves.cube": "Curves as LUT (.cube)",
    }

    def options(self, values: Mapping[str, Any]) -> Edit:
        """The `Edit` of these values."""
        given = dict(values)
        shares = tuple(_number(name, given.pop(name, 1.0)) for name in _SHARES)
        if "shading_strength" in given:
            given["shading_strength"] = _number("shading_strength", given["shading_strength"])
        unknown = set(given) - {"parts", "shading_strength", "blend", "single_alpha"}
        if unknown:
            raise InputError(f"unknown option {', '.join(sorted(unknown))}")
        return Edit(channels=shares, **given)  # type: ignore[arg-type]  # there are three channels

    def editable(self, prediction: Parameters) -> Editable:
        """The curves, and the shading where there is one."""
        curves = zip(CHANNELS, prediction.curves, strict=True)
        # The shortest decimal of each float32, so that what comes back unchanged keeps its bits.
        values = {name: [float(str(value)) for value in curve] for name, curve in curves}
        return Editable(values, prediction.shading is not None)

    def edited(
        self, prediction: Parameters, curves: Mapping[str, list[float]], strokes: Iterable[Stroke]
    ) -> Parameters:
        """See `StudioControls`; strokes brighten (above 0) or darken the map, within [0,1]."""
        if set(curves) - set(CHANNELS):
            raise InputError(f"the curves are {', '.join(CHANNELS)}")
        changed = prediction.curves.copy()
        for index, name in enumerate(CHANNELS):
            if name in curves:
                if len(curves[name]) != changed.shape[1]:
                    raise InputError(
                        f"a curve has {changed.shape[1]} knots, not {len(curves[name])}"
                    )
                changed[index] = curves[name]
        shading, painted = prediction.shading, list(strokes)
        if painted:
            if shading is None:
                raise InputError("this model has no shading map to paint on")
            shading = _painted(shading, painted)
        return Parameters(changed, shading, prediction.single_alpha)

    def file(self, name: str, prediction: Parameters, strength: float, options: Edit) -> bytes:
        """The record as JSON, or the curves as LUT with strength and options worked in."""
        if name == "curves.cube":
            return cube_text(prediction, strength=strength, edit=options).encode()
        return prediction.document()


def _painted(shading: np.ndarray, strokes: Iterable[Stroke]) -> np.ndarray:
    height, width = shading.shape
    y, x = (np.arange(height)[:, None] + 0.5) / height, (np.arange(width) + 0.5) / width
    result = shading.astype(np.float64)
    for stroke in strokes:
        distance = np.hypot(x - stroke.x, y - stroke.y) / max(stroke.radius, 1e-3)
        result = np.clip(result + stroke.amount * np.exp2(-3 * distance**2), 0, 1)
    return result.astype(np.float32)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} must be a number, not {value!r}")
    return float(value)

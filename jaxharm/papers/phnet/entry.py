"""The registry's entries of PHNet: two sizes of one network."""

from typing import TYPE_CHECKING

from jaxharm.registry import Entry, OfficialFile

if TYPE_CHECKING:  # for the types that the functions below return
    from jaxharm.interfaces import TorchNames
    from jaxharm.papers.phnet.model import PHNet, PHNetConfig
    from jaxharm.papers.phnet.system import PHNetObjective, PHNetSystem


def _model() -> "type[PHNet]":
    from jaxharm.papers.phnet.model import PHNet

    return PHNet


def _config() -> "type[PHNetConfig]":
    from jaxharm.papers.phnet.model import PHNetConfig

    return PHNetConfig


def _objective() -> "type[PHNetObjective]":
    from jaxharm.papers.phnet.system import PHNetObjective

    return PHNetObjective


def _system() -> "type[PHNetSystem]":
    from jaxharm.papers.phnet.system import PHNetSystem

    return PHNetSystem


def _torch_names() -> "TorchNames":
    from jaxharm.papers.phnet.convert import torch_names

    return torch_names


_PAPER = "PHNet: Patch-based Normalization for Portrait Harmonization, arXiv 2402.17561"
_LICENSE = "Apache-2.0"


def _file(name: str, kept: str, data: str, side: int, more: str = "") -> OfficialFile:
    """A file of the project's table; `kept` is the folder that the command writes."""
    return OfficialFile(
        name,
        "https://github.com/befozg/PHNet#model-zoo",
        f"{data} at {side}x{side}",
        "a variant of CC BY-SA 4.0, that of the repository (license/en_us.pdf there)",
        f"python -m jaxharm convert phnet_{data.lower()} {name} weights/{kept}{more}",
    )


ENTRIES = (
    Entry(
        name="phnet_ffhqh",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        torch_names=_torch_names,
        parameters=39_921_456,
        memory_mib=287,
        paper=_PAPER,
        license=_LICENSE,
        official_files=(
            _file("best_ffhqh256.pth", "phnet_ffhqh_256", "FFHQH", 256),
            _file("best_ffhqh512.pth", "phnet_ffhqh_512", "FFHQH", 512, " --set trained_size=512"),
            _file(
                "best_ffhqh1024.pth", "phnet_ffhqh_1024", "FFHQH", 1024, " --set trained_size=1024"
            ),
        ),
    ),
    Entry(
        name="phnet_iharmony4",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        torch_names=_torch_names,
        preset={
            "grid_counts": (10, 5, 1),
            "channels": (3, 16, 32, 64, 128, 256, 512),
            "trained_size": 512,
        },
        parameters=9_994_110,
        memory_mib=141,
        paper=_PAPER,
        license=_LICENSE,
        official_files=(_file("best_iharmony.pth", "phnet_iharmony4", "iHarmony4", 512),),
    ),
)

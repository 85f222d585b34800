"""The registry's entries of PHNet: two sizes of one network."""

from typing import TYPE_CHECKING

from jaxharm.registry import Entry

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
_WEIGHTS = "official checkpoints convert (jaxharm convert); none shipped"
_LICENSE = "code Apache-2.0; official weights: see the PHNet repository"

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
        weights=_WEIGHTS,
        license=_LICENSE,
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
        weights=_WEIGHTS,
        license=_LICENSE,
    ),
)

"""The registry's entry of GKNet."""

from typing import TYPE_CHECKING

from jaxharm.registry import Entry

if TYPE_CHECKING:  # for the types that the functions below return
    from jaxharm.interfaces import TorchNames
    from jaxharm.papers.gknet.config import GKNetConfig
    from jaxharm.papers.gknet.model import GKNet
    from jaxharm.papers.gknet.system import GKNetObjective, GKNetSystem


def _model() -> "type[GKNet]":
    from jaxharm.papers.gknet.model import GKNet

    return GKNet


def _config() -> "type[GKNetConfig]":
    from jaxharm.papers.gknet.config import GKNetConfig

    return GKNetConfig


def _objective() -> "type[GKNetObjective]":
    from jaxharm.papers.gknet.system import GKNetObjective

    return GKNetObjective


def _system() -> "type[GKNetSystem]":
    from jaxharm.papers.gknet.system import GKNetSystem

    return GKNetSystem


def _torch_names() -> "TorchNames":
    from jaxharm.papers.gknet.convert import torch_names

    return torch_names


ENTRIES = (
    Entry(
        name="gknet",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        torch_names=_torch_names,
        parameters=14_519_716,
        memory_mib=144,
        paper="Learning Global-aware Kernel for Image Harmonization, ICCV 2023, arXiv 2305.11676 "
        "(reconstruction: internals and weights were not available)",
        weights="none were released: train it, or convert arrays in the layout of docs/papers/gknet.md",
        license="Apache-2.0",
    ),
)

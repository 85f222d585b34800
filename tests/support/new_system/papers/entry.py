"""The tinter in the registry."""

from typing import TYPE_CHECKING

from jaxharm.registry import Entry

if TYPE_CHECKING:  # for the types that the functions below return
    from jaxharm.papers.tinter.model import Tinter, TinterConfig
    from jaxharm.papers.tinter.system import TinterObjective, TinterSystem


def _model() -> "type[Tinter]":
    from jaxharm.papers.tinter.model import Tinter

    return Tinter


def _config() -> "type[TinterConfig]":
    from jaxharm.papers.tinter.model import TinterConfig

    return TinterConfig


def _objective() -> "type[TinterObjective]":
    from jaxharm.papers.tinter.system import TinterObjective

    return TinterObjective


def _system() -> "type[TinterSystem]":
    from jaxharm.papers.tinter.system import TinterSystem

    return TinterSystem


ENTRIES = (
    Entry(
        name="tinter",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        parameters=12,
        paper="none: it stands for a system that somebody adds",
        weights="none: train it",
        license="Apache-2.0",
    ),
)

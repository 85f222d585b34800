"""Which models exist: name -> where its parts are and what a user should know of it.

The entries come from the papers' rooms (`jaxharm/papers/<paper>/entry.py`), which `jaxharm.papers`
registers when a model is first asked for (`look_in`); this file names none of them. An entry refers to its classes by functions that import
them when called: listing names stays fast, and a type checker follows every reference.
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxharm.errors import InputError

if TYPE_CHECKING:  # flax and the systems are slow to import and only name types here
    from pathlib import Path

    from flax import linen as nn

    from jaxharm.commands import Command, HarmonizeFlags, HelperNetwork, StudioControls
    from jaxharm.config import ModelConfig, Objective, RunConfig
    from jaxharm.interfaces import AnyRunner, System, TorchNames


SHIPPED = "shipped"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class OfficialFile(NamedTuple):
    """A file of weights that a project offers on a page of its own; nothing here fetches it.

    Attributes:
        file: its name, as it is downloaded.
        page: address of the page that links to it. Links to the file itself change more often.
        contents: what the weights were trained on, and at which size.
        license: of the weights, as that page and its repository state it.
        use: the command that makes it usable, to be typed beside the file.
        sha256: of the file; None where nobody of this project has had it in hand.
        tensor: of a file that is of no model: the name of a tensor that tells it; "" if it is told
            by its own name alone.
    """

    file: str
    page: str
    contents: str
    license: str
    use: str
    sha256: str | None = None
    tensor: str = ""


class Entry(NamedTuple):  # light to import, as a dataclass is not
    """One registered model with its system.

    Attributes:
        name: what users type.
        model: the Flax module's class; it takes `config`, `axis_name` and `dtype`.
        config: the class of its frozen Config.
        objective: the class of the frozen dataclass with the system's loss weights and choices.
        system: the class that trains it.
        torch_names: the function from a Config to the name map of the official checkpoints; None
            where there are none.
        preset: Config fields that differ from the class defaults for this name.
        parameters: trained parameters of the full-size model.
        official: Config fields of the officially released weights that differ from `preset`.
        needs_background: whether the model reads a background plate (or painting).
        runner: the class that applies it to images of any size; None: the one for networks that
            give pixels (`jaxharm.inference.loading.runner_class`).
        memory_mib: weights and buffers of the network at the size it predicts at (batch 1, float32),
            as XLA reports them for CPU; 0 where nobody measured.
        paper: shown by `jaxharm models`.
        weights: where weights come from if `official_files` has none of this very model.
        license: of the code.
        official_files: weights of this model, or for training it, that its project offers.
        own_pairs: the published config that `jaxharm train --data` takes where none is named: a recipe
            for a few photographs of a user's own; "" for all models but one.
        shipped: the folder of weights that travel with the package; None for all models but one.
        listed: False for a network that only serves the training of another one, or an ablation.
        flags: what its paper adds to `jaxharm harmonize`.
        controls: what the studio offers of its models.
        exports: public names that `jaxharm` offers for its paper.
        commands: further commands of `jaxharm`, by name.
        helpers: networks that `jaxharm convert` makes beside the models, by name.
    """

    name: str
    model: Callable[[], "type[nn.Module]"]
    config: Callable[[], "type[ModelConfig]"]
    objective: Callable[[], "type[Objective]"]
    system: Callable[[], "type[System]"]
    parameters: int
    paper: str
    license: str
    weights: str = ""
    official_files: tuple[OfficialFile, ...] = ()
    torch_names: "Callable[[], TorchNames] | None" = None
    preset: Mapping[str, object] = _NOTHING
    official: Mapping[str, object] = _NOTHING
    needs_background: bool = False
    runner: "Callable[[], type[AnyRunner]] | None" = None
    memory_mib: int = 0
    own_pairs: str = ""
    shipped: "Callable[[], Path] | None" = None
    listed: bool = True
    flags: "Callable[[], HarmonizeFlags] | None" = None
    controls: "Callable[[], StudioControls] | None" = None
    exports: Mapping[str, Callable[[], object]] = _NOTHING
    commands: "Mapping[str, Callable[[], Command]]" = _NOTHING
    helpers: "Mapping[str, Callable[[], HelperNetwork]]" = _NOTHING


_ENTRIES: dict[str, Entry] = {}


_PACKAGES: list[str] = []


def look_in(package: str) -> None:
    """Names a package that registers models as it is imported: when one is asked for, not before."""
    _PACKAGES.append(package)


def _registered() -> dict[str, Entry]:
    for package in _PACKAGES:  # the first call reads them; another thread waits for it here
        importlib.import_module(package)
    return _ENTRIES


def register(entry: Entry) -> None:
    """Adds a model, after those of the papers; a second one of the same name is an error."""
    if entry.name in _registered():
        raise ValueError(f"a model named {entry.name!r} is registered already")
    _ENTRIES[entry.name] = entry


def list_models() -> list[str]:
    """Names of the registered models, in order of registration; helpers are left out."""
    return [name for name, entry in _registered().items() if entry.listed]


def shipped_folder() -> "Path":
    """The weights that travel with the package, which `SHIPPED` names in place of a folder."""
    return next(entry.shipped() for entry in entries() if entry.shipped is not None)


def entries() -> tuple[Entry, ...]:
    """Every registered entry, in order of registration."""
    return tuple(_registered().values())


def get(name: str) -> Entry:
    """The entry of `name`; InputError naming the closest ones where there is none."""
    known = _registered()
    if name not in known:
        import difflib  # only a mistake needs it

        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list_models()
        raise InputError(f"unknown model {name!r}; known: {', '.join(close)}")
    return known[name]


def model_config(name: str, **overrides: object) -> Any:
    """The Config of `name` with `overrides`; InputError naming the valid fields if one is unknown."""
    from dataclasses import fields  # late, as nothing else here needs it: see `Entry`

    entry = get(name)
    cls: Any = entry.config()
    valid = [field.name for field in fields(cls)]
    unknown = sorted(set(overrides) - set(valid))
    if unknown:
        raise InputError(
            f"unknown option {', '.join(unknown)} of model {name!r}; valid: {', '.join(valid)}"
        )
    return cls(**{**entry.preset, **overrides})


def create_model(name: str, **overrides: object) -> "nn.Module":
    """The Flax module of `name`, at inference settings (no device axis, float32).

    Raises:
        InputError (a ValueError): unknown name, or an override that is no field of its Config.
    """
    return build_model(name, model_config(name, **overrides))


def build_model(name: str, config: "ModelConfig") -> "nn.Module":
    """The Flax module of `name` with a ready `config`, at inference settings."""
    module: Any = get(name).model()  # every model takes `config`; nn.Module does not say so
    built: nn.Module = module(config=config)
    return built


def check_config(config: "RunConfig") -> None:
    """Refuses a run whose parts do not belong together.

    Raises:
        InputError: an unknown system, or a model or objective of another one.
    """
    entry = get(config.system)
    for part, cls in (("model", entry.config()), ("objective", entry.objective())):
        value = getattr(config, part)
        if type(value) is not cls:
            raise InputError(
                f"system={config.system!r} needs its {part} to be of type {cls.__name__}, and this config "
                f"has a {type(value).__name__}: start from a config of that system"
            )


def make_system(config: "RunConfig", *, total_steps: int) -> "System":
    """The system that `config.system` names, for a run of `total_steps` optimization steps.

    Raises:
        InputError: as `check_config`.
    """
    check_config(config)
    return get(config.system).system().from_config(config, total_steps=total_steps)

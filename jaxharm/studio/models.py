"""The models of a server: each with its weights, loaded when it is first asked for."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxharm import registry
from jaxharm.commands import StudioControls
from jaxharm.config import Json
from jaxharm.errors import InputError
from jaxharm.inference.harmonize import Harmonizer
from jaxharm.inference.options import choose
from jaxharm.weights.card import read_card
from jaxharm.weights.portable import find_weights, read_manifest


@dataclass
class Models:
    """Weights by the name under which a server offers them; nothing else can be asked for.

    Attributes:
        folders: name -> a weights folder, or that of a run.
        size: side that the networks predict at; None: their own.
    """

    folders: Mapping[str, str]
    size: int | None = None
    _loaded: dict[str, Harmonizer] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # What cannot be used ends the server before it starts; weights are read later.
        self._names = {
            name: str(read_manifest(find_weights(folder))["model"])
            for name, folder in self.folders.items()
        }

    def get(self, name: str) -> Harmonizer:
        """The model of a name; InputError where there is none."""
        if name not in self.folders:
            raise InputError(f"no model {name!r} here; there are {', '.join(self.folders)}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = Harmonizer(checkpoint=self.folders[name], size=self.size)
            return self._loaded[name]

    def controls(self, name: str) -> StudioControls | None:
        """What can be chosen beside the strength; None: nothing."""
        make = registry.get(self._names[name]).controls
        return None if make is None else make()

    def options(self, name: str, values: Mapping[str, Any]) -> object:
        """The runner's options for values by the names of the model's controls."""
        run, controls = self.get(name), self.controls(name)
        if controls is None:
            return choose(run.name, run.runner.Options, None, values)
        options = controls.options(values)
        run.runner.check(options)
        return options

    def described(self) -> list[Json]:
        """What a client is told of each."""
        return [self._description(name) for name in self.folders]

    def _description(self, name: str) -> Json:
        entry, controls = registry.get(self._names[name]), self.controls(name)
        card = read_card(self.folders[name])
        return {
            "name": name,
            "model": entry.name,
            "paper": entry.paper,
            "license": card.license,
            "strength": 1.0 if card.recommended_strength is None else card.recommended_strength,
            "needs_background": entry.needs_background,
            "controls": [vars(control) for control in (controls.controls if controls else ())],
            "files": dict(controls.files) if controls else {},
        }

"""Every dataclass that a run's config may consist of."""

import dataclasses
import typing

from jaxharm import registry
from jaxharm.config import TrainConfig
from jaxharm.fields import field_types


def config_classes():
    """TrainConfig, every paper's Config and Objective, and the dataclasses inside of them."""
    found = {}

    def add(cls):
        if cls not in found:
            found[cls] = None
            for hint in field_types(cls).values():
                for option in (hint, *typing.get_args(hint)):
                    if isinstance(option, type) and dataclasses.is_dataclass(option):
                        add(option)

    add(TrainConfig)
    for entry in registry.entries():
        if entry.name != "toy":
            add(entry.config())
            add(entry.objective())
    return list(found)


def example(cls):
    """A valid instance."""
    if cls is TrainConfig:
        entry = registry.get(registry.list_models()[0])
        return TrainConfig(system=entry.name, model=entry.config()(), objective=entry.objective()())
    return cls()

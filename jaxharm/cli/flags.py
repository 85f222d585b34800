"""The options of `jaxharm harmonize` that the papers' rooms add."""

import argparse
from typing import TYPE_CHECKING

from jaxharm import registry

if TYPE_CHECKING:
    from jaxharm.commands import HarmonizeFlags


def all_flags() -> "list[HarmonizeFlags]":
    """What the papers' rooms add, each once although several models may share it."""
    # Keyed by the loading function, which the entries of one paper share.
    found = {entry.flags: entry.flags() for entry in registry.entries() if entry.flags}
    return list(found.values())


def given_of(flags: "HarmonizeFlags", arguments: argparse.Namespace) -> list[str]:
    """The options of a paper's room that were typed."""
    names = [name for name in flags.names if getattr(arguments, name) is not None]
    return [f"--{name.replace('_', '-')}" for name in names]


def replacing_flags(arguments: argparse.Namespace) -> "tuple[HarmonizeFlags, str] | None":
    """The options that make a model needless, if such were given, and the reason."""
    for flags in all_flags():
        reason = flags.replaces_model(arguments)
        if reason is not None:
            return flags, reason
    return None

"""A model's options from what a caller gave: a dataclass, or its fields by keyword. Checked here."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxharm.errors import InputError
from jaxharm.interfaces import AnyRunner, OptionsT


def make_options(
    runner: AnyRunner, options: object | None = None, fields: Mapping[str, object] | None = None
) -> object:
    """The options of one call to `runner`; see `choose`. Also refuses what its weights cannot do."""
    chosen: object = choose(runner.settings.name, runner.Options, options, fields or {})
    runner.check(chosen)
    return chosen


def choose(
    name: str, kind: type[OptionsT], options: object | None, fields: Mapping[str, Any]
) -> OptionsT:
    """The options of the class `kind`.

    Args:
        name: of the model, for messages.
        kind: a frozen dataclass that checks the ranges of its fields itself.
        options: ready options, or None.
        fields: fields of `kind` by name, instead; those left out keep their defaults.

    Raises:
        InputError: both were given, a field that the model does not have, options of another
            model, or a value out of range.
    """
    if options is not None and fields:
        raise InputError(f"give either options= or {', '.join(sorted(fields))}, not both")
    if options is None:
        return kind(**_known(name, kind, fields))
    if not isinstance(options, kind):
        raise InputError(
            f"options of model {name!r} are of class {kind.__name__}, not {type(options).__name__}"
        )
    return options


def check_strength(strength: float) -> None:
    """Raises InputError unless 0 <= strength <= 1."""
    if not 0 <= strength <= 1:
        raise InputError(f"strength {strength} is not between 0 and 1")


def _known(name: str, kind: Any, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """`fields`; InputError naming the valid ones where one is unknown."""
    valid = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(fields) - set(valid))
    if unknown:
        offered = ", ".join(valid) if valid else "none but strength"
        raise InputError(f"unknown option {', '.join(unknown)} of model {name!r}; valid: {offered}")
    return fields

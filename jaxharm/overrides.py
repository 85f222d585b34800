"""Changes of a config by name, as `--set key=value` gives them, and the list of its fields.

tyro parses a value by its field's type and lays out the list; it is loaded when first needed.
"""

import contextlib
import dataclasses
import difflib
import io
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from jaxharm.config import DataclassT, Objective, RunConfig, TrainConfig
from jaxharm.errors import InputError
from jaxharm.fields import field_types, type_words

_BOOLS = {"true": "True", "1": "True", "false": "False", "0": "False"}


def apply_overrides(config: DataclassT, sets: Sequence[str]) -> DataclassT:
    """Returns `config` with each "a.b=value" applied, parsed by the field's type.

    All settings of a group are applied at once, so that `steps=none` and `epochs=3` may come in any
    order. Of two settings of one key, the last one counts.

    Raises:
        InputError: an unknown key, a value of another type, or one that the config refuses.
    """
    settings: dict[str, str] = {}
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals:
            raise InputError(f"--set {item!r} is not of the form key=value")
        settings[key.strip()] = text.strip()
    return _changed(config, settings, "")


def describe(config: RunConfig) -> str:
    """Every field of a run's config with type, default and help text, as `--help` prints it."""
    import tyro

    # The parameters are spelled out, as tyro cannot see the fields behind a type variable.
    parts = (type(config.model), type(config.objective))
    cls = cast("type[RunConfig]", types.GenericAlias(TrainConfig, parts))
    options = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        tyro.cli(cls, default=config, args=["--help"], config=options, use_underscores=True)
    # tyro describes a command with options --a.b VALUE and -h; here they are the keys of --set.
    lines = printed.getvalue().splitlines()
    start = next(i for i, line in enumerate(lines) if "show this help message" in line)
    listed = [line.rstrip().replace("  --", "  ", 1) for line in lines[start + 1 :]]
    return "\n".join(["fields of the config, to be changed by --set KEY=VALUE:", "", *listed])


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the closest ones, or all there are."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else f"; known: {', '.join(names)}"


def _changed(config: DataclassT, settings: Mapping[str, str], prefix: str) -> DataclassT:
    hints = field_types(type(config))
    values: dict[str, object] = {}
    groups: dict[str, dict[str, str]] = {}
    for key, text in settings.items():
        name, _, rest = key.partition(".")
        if name not in hints:
            raise InputError(f"unknown config key {prefix + key!r}{suggest(name, hints)}")
        if rest:
            groups.setdefault(name, {})[rest] = text
        else:
            values[name] = _parse(text, hints[name], getattr(config, name), prefix + key)
    for name, inner in groups.items():
        current = values.get(name, getattr(config, name))
        if not dataclasses.is_dataclass(current) or isinstance(current, type):
            raise InputError(
                f"config key '{prefix}{name}.{next(iter(inner))}': {name} has no fields"
            )
        values[name] = _changed(current, inner, f"{prefix}{name}.")
    try:
        return dataclasses.replace(config, **values)
    except InputError as error:
        keys = ", ".join(prefix + name for name in values)
        raise InputError(f"config key {keys!r}: {error}") from None


def _parse(text: str, hint: object, current: object, key: str) -> object:
    optional = type(None) in typing.get_args(hint)
    if optional and text.lower() == "none":
        return None
    if dataclasses.is_dataclass(current) or _group_in(hint):
        group = _group_in(hint) or cast("Objective", current).__class__
        fields = ", ".join(field_types(group))
        raise InputError(f"config key {key!r} is a group; set one of its fields: {fields}")
    import tyro

    # tyro prints its own report of several lines before it exits; ours is one sentence.
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return tyro.cli(cast("type[object]", hint), args=_words_of(text, hint))
        except SystemExit:
            raise InputError(f"config key {key!r}: {text!r} is not {type_words(hint)}") from None


def _group_in(hint: object) -> type[Objective] | None:
    """The dataclass that a field may hold, if it is of such a type."""
    for option in (hint, *typing.get_args(hint)):
        if isinstance(option, type) and dataclasses.is_dataclass(option):
            return cast("type[Objective]", option)
    return None


def _words_of(text: str, hint: object) -> list[str]:
    """The words of a command line that tyro expects for a value."""
    options = (hint, *typing.get_args(hint))
    if any(typing.get_origin(option) is tuple for option in options):
        return [item.strip() for item in text.strip("()[] ").split(",") if item.strip()]
    return [_BOOLS.get(text.lower(), text)] if bool in options else [text]
